"""The live check of a text against a finished result. Knows results; writes none of their files."""
