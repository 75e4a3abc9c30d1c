"""The `polyseme` command and the Python client. Imports neither torch nor Flask."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polyseme.async_client import AsyncPolyseme
    from polyseme.client import Polyseme
    from polyseme.problems import (
        Busy,
        ClientError,
        Invalid,
        NotFound,
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

_MODULES = {"AsyncPolyseme": "polyseme.async_client", "Polyseme": "polyseme.client"}


def __getattr__(name: str) -> Any:
    """Imports what is asked for then: the processes of a service need none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, "polyseme.problems")), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
