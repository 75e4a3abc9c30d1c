"""`polyseme dictionaries`: for operators. Puts dictionaries into the catalogue, checks and converts
them. Knows no torch: what reads weights runs in a process of its own.
"""
