"""What the C heap (glibc) does with memory that is freed.

Its settings are the process'; elsewhere nothing is set.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

# Parameters of mallopt(3). Once one is set, glibc no longer moves the thresholds by itself.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_USUAL = {
    _MMAP_MAX: 65536,
    _MMAP_THRESHOLD: 32 << 20,
    _TRIM_THRESHOLD: 64 << 20,
}  # what glibc itself would come to
_KEEPING = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1}
_RETURNING = {**_USUAL, _MMAP_THRESHOLD: 1 << 20}

_held: list[Mapping[int, int]] = [
    _USUAL
]  # the last one is set, and the one before it will be again


@contextmanager
def keeping_freed_arrays() -> Iterator[None]:
    """Meanwhile freed arrays stay with the process, for the next ones.

    For forward passes, which make the same arrays again and again: new pages for each of them cost
    up to a third of the time. Afterwards they go back to the system.
    """
    try:
        with _setting(_KEEPING):
            yield
    finally:
        _trim()


@contextmanager
def returning_large_arrays() -> Iterator[None]:
    """Meanwhile every large array goes back to the system as soon as it is freed.

    Left alone the heap takes the largest array so far, up to 32 MiB, for a size to keep, and what
    it keeps it breaks up: a process grew by a third over the layers of a job.
    """
    with _setting(_RETURNING):
        yield


@contextmanager
def not_collecting() -> Iterator[None]:
    """Meanwhile nobody looks for cycles: for what makes very many small objects without any, where
    looking takes a fifth of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def _setting(parameters: Mapping[int, int]) -> Iterator[None]:
    _held.append(parameters)
    _set(parameters)
    try:
        yield
    finally:
        _held.pop()
        _set(_held[-1])


def _set(parameters: Mapping[int, int]) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in parameters.items():
            mallopt(parameter, value)


def release_memory() -> None:
    """Frees what only cycles keep alive, and returns the C heap's free pages to the system where it
    can (glibc).
    """
    gc.collect()
    _trim()


def _trim() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
