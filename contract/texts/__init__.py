"""Files of texts as documents, by what is in them: bytes in, documents out, never whole in memory.

Knows no HTTP, no store and no folder. How it is packed, how it is spelled and what it means are
each a module of their own.
"""
