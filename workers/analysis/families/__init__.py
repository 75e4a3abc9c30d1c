"""Which architectures are known, and where in their modules the parts are that an analysis needs.

Knows configs and modules; no files, no weights, and not what is read from the parts.
"""
