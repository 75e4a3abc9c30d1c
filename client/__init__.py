"""The `polyseme` command and the Python client. Imports neither torch nor Flask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from client.polyseme import AsyncPolyseme, Polyseme
    from client.problems import Busy, ClientError, Invalid, NotFound, Problem, StillRunning, Unreachable

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


def __getattr__(name: str) -> Any:
    """Imports what is asked for then: the command's small processes need none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = "client.polyseme" if name.endswith("Polyseme") or name == "Polyseme" else "client.problems"
    return getattr(import_module(module), name)
