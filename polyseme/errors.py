"""What the command says instead of a traceback."""

from __future__ import annotations


class CommandError(Exception):
    """A plain sentence for the terminal.

    `exit_code`: 2 when the command was asked for something it will not do.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
