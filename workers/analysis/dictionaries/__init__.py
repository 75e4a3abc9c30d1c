"""Sparse dictionaries: SAEs, transcoders and encoders of cross-layer transcoders, as other projects
write them.

Reads their files, never a pickle, and computes latents as the writer of each format does. Knows no
model, no text and no statistics of neurons: activations in, latents and figures out.
"""
