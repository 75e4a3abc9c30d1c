"""What the API, the workers and the client must agree on, and nothing else.

Imports no torch and no Flask.
"""

__version__ = "0.1.0"
