"""A result's files: columns in, Parquet and JSON out. Knows no models and no text."""
