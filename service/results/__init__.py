"""Finished results, read from the store: lists, reports, exports. Knows nothing of HTTP."""
