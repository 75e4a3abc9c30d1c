"""The analysis beside other tools, each in an environment of its own, in turns over the same
tokens.
"""
