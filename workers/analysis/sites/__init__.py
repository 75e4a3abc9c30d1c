"""The places of a model whose units can be analysed: one file and one row of the table each.

Knows families' parts; no text, no statistics, and not how a model runs.
"""
