"""`polyseme dictionaries`: lists those of a service; for operators, puts them into the catalogue,
checks and converts them. Knows no torch: what reads weights runs in a process of its own.
"""
