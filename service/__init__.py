"""The HTTP API (Flask). Never imports torch."""
