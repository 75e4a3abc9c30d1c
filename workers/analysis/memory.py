"""Giving memory back between steps, so that a process' size does not depend on how many it has run."""

from __future__ import annotations

import ctypes
import gc


def release_memory() -> None:
    """Frees what only cycles keep alive, and returns the C heap's free pages to the system where it can (glibc)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
