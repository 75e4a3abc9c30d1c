"""Giving memory back to the system, so that a process' size does not depend on how much it has run."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_M_MMAP_THRESHOLD = -3  # mallopt(3)
_LARGE = 1 << 20  # bytes
_MOST = 32 << 20  # what glibc itself would come to


@contextmanager
def returning_large_arrays() -> Iterator[None]:
    """Meanwhile the C heap (glibc) gives every large array back to the system as soon as it is freed.

    Left alone it takes the largest array so far, up to 32 MiB, for a size to keep, and what it keeps it breaks up: a
    process grew by a third over the layers of a job. Not for a model's forward pass: new pages for each of its arrays
    cost it a third of its time.
    """
    _set_threshold(_LARGE)
    try:
        yield
    finally:
        _set_threshold(_MOST)


def _set_threshold(size: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, size)


def release_memory() -> None:
    """Frees what only cycles keep alive, and returns the C heap's free pages to the system where it can (glibc)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
