"""Uploaded directions: read as they come in, checked, written to the store, registered.

Knows no job's rules.
"""
