"""The Python client under the project's name: `from polyseme import Polyseme`."""

from __future__ import annotations

from client import *  # noqa: F403
from client import __all__ as __all__
