"""What a person reads of a unit: names of its senses and one sentence, from whole words and what
stands beside them. Knows senses and words, not vectors, files or models.
"""
