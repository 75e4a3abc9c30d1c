"""Which candidates become contexts, compiled: a walk over each neuron's, without copies.

Arrays in, arrays changed.
"""

from __future__ import annotations

import numba
import numpy as np

_NEW, _COPY, _KEPT = 0, 1, 2

_options = {"nogil": True, "cache": True, "error_model": "numpy"}


@numba.njit(parallel=True, **_options)
def fill_near(first, end, peak, ids, near):  # type: ignore[no-untyped-def]
    """The tokens around each peak.

    first, end: (N, M), of each candidate's window among the flat `ids`; peak: (N, M), where its
    peak is there. Set: near (N, M, W) int32, the peak in the middle; -1 outside of the window.
    """
    candidates, width = near.shape[1:]
    for n in numba.prange(len(near)):
        for m in range(candidates):
            for i in range(width):
                at = peak[n, m] + i - width // 2
                near[n, m, i] = ids[at] if first[n, m] <= at < end[n, m] else -1


@numba.njit(parallel=True, **_options)
def choose(held, window, group, limits, near, drop, share, kept, duplicates):  # type: ignore[no-untyped-def]
    """Keeps each candidate that is new, in their order, until its group has what was asked for.

    held: (N, M) bool, there is one; window: (N, M); group: (M,) int64, from 0; limits: (M,), of
    each candidate's group; near: (N, M, W) int32 tokens around the peaks, -1 outside of the window;
    drop: whether copies are left out; share: of the places inside either window, from which two are
    copies when they agree there. Set: kept (N, M) bool. Added to: duplicates (N,), those left out
    as copies.
    """
    for n in numba.prange(len(held)):
        counts = np.zeros(group.max() + 1, np.int64)
        for m in range(len(limits)):
            if not held[n, m] or counts[group[m]] >= limits[m]:
                continue
            verdict = _compare(window[n], near[n], kept[n], m, drop, share)
            duplicates[n] += verdict == _COPY
            kept[n, m] = verdict == _NEW
            counts[group[m]] += verdict == _NEW


@numba.njit(**_options)
def _compare(window, near, kept, m, drop, share):  # type: ignore[no-untyped-def]
    """What a candidate is beside those that are kept already.

    A window that is kept already is no copy.
    """
    verdict = _NEW
    for k in range(m):
        if kept[k] and window[k] == window[m]:
            return _KEPT
        if kept[k] and drop and verdict == _NEW and _are_near(near[k], near[m], share):
            verdict = _COPY
    return verdict


@numba.njit(**_options)
def _are_near(a, b, share):  # type: ignore[no-untyped-def]
    same = either = 0
    for i in range(len(a)):
        if a[i] >= 0 or b[i] >= 0:
            either += 1
            same += a[i] == b[i]
            # Most pairs differ soon in more places than may differ of all.
            if either - same > (1 - share) * len(a) + 1e-9:
                return False
    return same >= share * either
