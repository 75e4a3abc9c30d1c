"""How fast the analysis is, how much memory it takes, and how soon the API answers.

See README.md.
"""
