"""A reader a format: its settings and tensors into a dictionary, as the format's own project
computes it. Knows no other format.
"""
