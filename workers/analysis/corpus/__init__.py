"""Texts into windows, blocks and shards, and what a word is. Runs no model."""
