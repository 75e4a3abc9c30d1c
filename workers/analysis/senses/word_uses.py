"""Two uses of one word: looked for in groups of one word, by the vectors that tell uses apart.

Arrays in, arrays changed.
"""

from __future__ import annotations

import numba
import numpy as np

# Share of a group's contexts on its two commonest words from which it is looked into for two uses.
ONE_WORD = 0.8
# Variance between two uses of one word, in that of random tokens, from which they are two senses.
SPLIT = 0.034
DOUBT = 0.5  # of SPLIT: from there to it, the chance that the two mean the same falls to 0

_options = {"nogil": True, "cache": True, "error_model": "numpy"}


@numba.njit(**_options)
def part_uses(group, words, uses, place, least, same):  # type: ignore[no-untyped-def]
    """Parts each group of one word whose uses differ enough.

    group: (n,) the name of each context's group, one of its members, or NONE; words: (n,) int32;
    uses: (U, Q) float32, of random tokens 1 long on average (root mean square); place: (n,) in
    them; least: contexts of the smallest sense. Changed: group; same (n, n), the chances that two
    contexts mean the same, which fall between two uses the more these differ.
    """
    for name in range(len(group)):
        held = np.flatnonzero(group == name)
        if len(held) < 4 * least:
            continue
        kind = number_words(words[held])
        if np.sort(np.bincount(kind))[-2:].sum() < ONE_WORD * len(held):
            continue
        second, apart = two_uses(uses[place[held]], kind)
        if not least <= second.sum() <= len(held) - least:
            continue
        kept = 1.0 - min(max(apart / SPLIT - DOUBT, 0.0) / (1.0 - DOUBT), 1.0)
        if kept < 1.0:
            for i in held[second]:
                for k in held[~second]:
                    same[i, k] *= np.float32(kept)
                    same[k, i] = same[i, k]
        if apart >= SPLIT:
            # Named after the first of its contexts that does not carry the name already.
            moved = held[second]
            group[moved] = moved[0] if moved[0] != name else moved[1]


@numba.njit(**_options)
def number_words(words):  # type: ignore[no-untyped-def]
    """The words numbered from 0 in the order of their appearance."""
    kinds = np.zeros(len(words), np.int64)
    count = 0
    for i in range(len(words)):
        kinds[i] = -1
        for k in range(i):
            if words[k] == words[i]:
                kinds[i] = kinds[k]
                break
        if kinds[i] < 0:
            kinds[i] = count
            count += 1
    return kinds


@numba.njit(**_options)
def two_uses(vectors, kind):  # type: ignore[no-untyped-def]
    """Which vectors are of the second of two uses, and the variance that lies between the two.

    kind: the word of each. Each vector without what its word's have in common; their directions
    in two groups by 2-means, from the sign on the first axis.
    """
    own = vectors.astype(np.float64)
    for k in np.unique(kind):
        _centre(own, kind == k)
    unit = own.copy()
    for i in range(len(unit)):
        unit[i] /= max(np.sqrt((unit[i] * unit[i]).sum()), 1e-12)
    _centre(unit, np.ones(len(unit), np.bool_))
    flat = unit.T.copy()
    second = _along(unit, flat) > 0
    gaps = np.empty((2, len(unit)))
    for _ in range(20):
        if not 0 < second.sum() < len(second):
            return second, 0.0
        centres = _two_means(unit, second)
        for use in range(2):
            _measure_gaps(flat, centres[use], gaps[use])
        nearer = gaps[1] < gaps[0]
        changed = (nearer != second).any()
        second = nearer
        if not changed:
            break
    if not 0 < second.sum() < len(second):
        return second, 0.0
    centres, share = _two_means(own, second), second.mean()
    return second, share * (1.0 - share) * ((centres[1] - centres[0]) ** 2).sum()


@numba.njit(**_options)
def _centre(rows, chosen):  # type: ignore[no-untyped-def]
    """Takes the mean of the chosen rows from each of them."""
    mean, count = np.zeros(rows.shape[1]), 0
    for i in range(len(rows)):
        if chosen[i]:
            mean += rows[i]
            count += 1
    mean /= count
    for i in range(len(rows)):
        if chosen[i]:
            rows[i] -= mean


@numba.njit(**_options)
def _two_means(rows, second):  # type: ignore[no-untyped-def]
    centres, counts = np.zeros((2, rows.shape[1])), np.zeros(2)
    for i in range(len(rows)):
        centres[int(second[i])] += rows[i]
        counts[int(second[i])] += 1
    centres[0] /= counts[0]
    centres[1] /= counts[1]
    return centres


# Sums over the dimensions of all rows at once, so that they are added in their order and yet
# several at a time. flat: (Q, n), the rows laid the other way.


@numba.njit(**_options)
def _measure_gaps(flat, centre, gaps):  # type: ignore[no-untyped-def]
    """Squared distances of the rows from a centre."""
    gaps[:] = 0.0
    for d in range(len(flat)):
        for i in range(flat.shape[1]):
            gap = flat[d, i] - centre[d]
            gaps[i] += gap * gap


@numba.njit(**_options)
def _place_on(flat, axis, places):  # type: ignore[no-untyped-def]
    """Each row on an axis."""
    places[:] = 0.0
    for d in range(len(flat)):
        for i in range(flat.shape[1]):
            places[i] += flat[d, i] * axis[d]


@numba.njit(**_options)
def _along(rows, flat):  # type: ignore[no-untyped-def]
    """Each row on the first principal axis, by power iteration from the longest row."""
    places = np.empty(len(rows))
    _measure_gaps(flat, np.zeros(len(flat)), places)
    axis = rows[places.argmax()].copy()
    for _ in range(50):
        _place_on(flat, axis, places)
        following = np.zeros(len(axis))
        for i in range(len(rows)):
            for d in range(len(axis)):
                following[d] += rows[i, d] * places[i]
        axis = following / max(np.sqrt((following * following).sum()), 1e-300)
    _place_on(flat, axis, places)
    return places
