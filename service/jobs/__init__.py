"""Jobs, batches and live checks: checked, opened on the board, shown, ended.

Knows no route: a body comes in loaded, and what goes out is plain dicts.
"""
