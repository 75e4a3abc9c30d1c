"""What HTTP itself asks for: bodies, headers, cursors, problems, slow clients, OpenAPI.

Knows no job and no result.
"""
