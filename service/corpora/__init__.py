"""Corpora: texts read as they come in, written to the store, registered. Knows no job's rules."""
