"""The Python client under the project's name: `from polyseme import Polyseme`."""

from __future__ import annotations

from client import (
    AsyncPolyseme,
    Busy,
    ClientError,
    Invalid,
    NotFound,
    Polyseme,
    Problem,
    StillRunning,
    Unreachable,
)

__all__ = [
    "AsyncPolyseme",
    "Busy",
    "ClientError",
    "Invalid",
    "NotFound",
    "Polyseme",
    "Problem",
    "StillRunning",
    "Unreachable",
]
