"""The analysis of a model's units on a corpus: a plain library.

Knows no queue, no HTTP and no environment. Its rooms, from the top: steps, live, reports, senses,
contexts, scan, corpus, models, sites, families, machine, files. A room imports from those below it.
"""
