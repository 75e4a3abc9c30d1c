"""Contexts into senses, and how sure that is. Knows vectors and activations; runs no model."""
