"""Clients who wait for jobs and batches: long polls and event streams. Knows nothing of Flask."""
