"""The `polyseme` command and the Python client. Imports neither torch nor Flask."""
