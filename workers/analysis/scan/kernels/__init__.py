"""How a block's activations enter what is kept of them: plain torch, and faster forms of the same.

Each form is a module with the functions of `interface.Kernels`.
"""
