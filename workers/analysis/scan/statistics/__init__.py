"""What is kept of a layer's activations, and how two halves of it become one.

Tensors and arrays in and out; knows no models, no files, and not how a block is run fast.
"""
