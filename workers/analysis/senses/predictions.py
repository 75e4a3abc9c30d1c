"""How well nearness to a sense tells where its unit fires, and where a sense lies, compiled.

Arrays in, arrays changed.
"""

from __future__ import annotations

import numba
import numpy as np

_options = {"nogil": True, "cache": True, "error_model": "numpy"}


@numba.njit(parallel=True, **_options)
def average_precision(similarity, fires, neuron, found):  # type: ignore[no-untyped-def]
    """How well each sense's similarities rank the tokens on which its neuron fires.

    similarity: (S, R) float32; fires: (N, R) int8, 1 fires, 0 does not, -1 left out; neuron: (S,)
    int64. Set: found (S,) float64, the mean over the firing tokens of the share of firing ones
    among all at least as similar; NaN when none fires. Source: average precision as in
    scikit-learn, ties counted together.
    """
    for s in numba.prange(len(similarity)):
        found[s] = _precision(similarity[s], fires[neuron[s]])


@numba.njit(**_options)
def _precision(similarity, fires):  # type: ignore[no-untyped-def]
    hits, known = np.sort(similarity[fires == 1]), similarity[fires >= 0]
    total, count = 0.0, len(hits)
    end = count
    while end:
        first = end - 1
        while first and hits[first - 1] == hits[first]:
            first -= 1
        share = (count - first) / _count_from(known, hits[first])
        for _ in range(first, end):
            total += share
        end = first
    return total / count if count else np.nan


@numba.njit(fastmath={"reassoc"}, **_options)
def _count_from(values, least):  # type: ignore[no-untyped-def]
    """How many are at least so large."""
    # To compare all, eight at a time, is faster than a search for each. float32 counts exactly to
    # 2**24.
    count = np.float32(0.0)
    for i in range(len(values)):
        count += np.float32(1.0) if values[i] >= least else np.float32(0.0)
    return count


@numba.njit(parallel=True, **_options)
def add_centres(vectors, place, offsets, owner, centres):  # type: ignore[no-untyped-def]
    """Adds each context's vector to its sense's row of `centres`, (M, P) float32.

    vectors: (U, P) float32; place: (C,) int64; offsets: (N + 1,) each unit's contexts; owner: (C,)
    int64, the row, or negative.
    """
    for j in numba.prange(len(offsets) - 1):
        for i in range(offsets[j], offsets[j + 1]):
            if owner[i] >= 0:
                centres[owner[i]] += vectors[place[i]]
