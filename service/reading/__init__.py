"""Uploads into files of documents, beside all other requests. Knows no HTTP, no store, no board."""
