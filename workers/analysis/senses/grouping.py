"""Groups each unit's contexts by the chance that two of them mean the same: average linkage,
compiled, a unit a thread.

Arrays in, arrays changed. Each unit is the work of one thread, in the order of its contexts, so the
number of threads changes nothing. docs/measures.md explains.
"""

from __future__ import annotations

import numba
import numpy as np

from polyseme.workers.analysis.senses.pairs import fill_chances
from polyseme.workers.analysis.senses.word_uses import part_uses

NONE = -1  # in place of a sense: the context is in none

LOOSER = 1.6  # of `same_at`: share of the mean chance within the looser of two big groups
BROAD_AT = 0.5  # mean broad chance from which two senses are of one field
UNRELATED = 0.16  # mean broad chance below which two senses are unrelated

_options = {"nogil": True, "cache": True, "error_model": "numpy"}


@numba.njit(parallel=True, **_options)
def group_units(  # type: ignore[no-untyped-def]
    material, scales, narrow, wide, offsets, place, mass, shown, least, same_at, tree, senses, units
):
    """Everything that needs the chances of a unit's pairs.

    material, scales, narrow, wide: as `pairs.fill_chances` takes them; offsets: (N + 1,) int64,
    unit j has the contexts offsets[j]:offsets[j + 1]; place: (C,) int64, in the material; mass:
    (C,) float64, activations' sizes; shown: (C,) bool, those a medoid may be; least: (N,) contexts
    of the smallest sense; same_at: from which mean chance two groups are one.

    Set: tree: left, right (C,) int16 and same_at (C,) float32, the merges of unit j from offsets[j]
    on, as in `polyseme.contract.files.results.MERGE`. senses, (C,) each: sense int32, of a context,
    or NONE; then, in the slot offsets[j] + s of sense s of unit j: size int32, 0 for none; share,
    within, between float64; medoid int32, counted from offsets[j], or NONE; broad int32; words
    int32, different ones. units, (N,) float64 each: alike, the chance that two firings mean the
    same; low and high, ends of its interval; covered, the share of the mass in senses; cosine, the
    mass-weighted mean cosine; apart, the largest mean broad chance between senses of different
    broad ones. NaN where there is nothing to say.
    """
    for j in numba.prange(len(offsets) - 1):
        first, end = offsets[j], offsets[j + 1]
        n = end - first
        if n == 0:
            continue
        own, weight = place[first:end], mass[first:end]
        same, broad = np.empty((n, n), np.float32), np.empty((n, n), np.float32)
        units[4][j] = fill_chances(material, scales, narrow, wide, own, weight, same, broad)
        words = material[3][own]
        left, right, height = tree[0][first:end], tree[1][first:end], tree[2][first:end]
        link(same.copy(), left, right, height)
        limit(left, right, height, least[j])
        group = cut(left, right, height, same_at)
        _drop_small(group, least[j])
        part_uses(group, words, material[1], own, least[j], same)
        sense = senses[0][first:end]
        count = _name_senses(group, weight, sense)
        _describe(first, same, broad, weight, shown[first:end], words, sense, count, senses)
        units[5][j] = _join_fields(first, broad, sense, count, senses[6])
        units[0][j], units[1][j], units[2][j] = _score(same, weight)
        inside = 0.0
        for i in range(n):
            inside += weight[i] if sense[i] >= 0 else 0.0
        units[3][j] = inside / weight.sum()


@numba.njit(**_options)
def link(chance, left, right, height):  # type: ignore[no-untyped-def]
    """Average linkage (UPGMA) on an (n, n) float32 matrix of chances, each time the two groups with
    the largest mean; of equal ones the first pair. Spoils the matrix.

    Source: Sokal and Michener 1958, in the update of Lance and Williams 1967.
    """
    n = len(chance)
    size, piece = np.ones(n, np.int64), np.arange(n)
    nearest = np.empty(n, np.int64)  # of the later ones that with the largest mean
    for i in range(n):
        nearest[i] = _nearest_after(chance, size, i)
    for step in range(n - 1):
        a = -1
        for i in range(n):
            known = size[i] > 0 and nearest[i] >= 0
            if known and (a < 0 or chance[i, nearest[i]] > chance[a, nearest[a]]):
                a = i
        b = nearest[a]
        left[step], right[step], height[step] = piece[a], piece[b], chance[a, b]
        total = size[a] + size[b]
        for k in range(n):
            if size[k] and k != a and k != b:
                mean = (size[a] * chance[a, k] + size[b] * chance[b, k]) / total
                chance[a, k] = chance[k, a] = mean
        size[a], size[b] = total, 0
        piece[a] = n + step
        for i in range(n):
            if not size[i]:
                continue
            if i == a or nearest[i] == a or nearest[i] == b:
                nearest[i] = _nearest_after(chance, size, i)
            elif i < a and (nearest[i] < 0 or chance[i, a] > chance[i, nearest[i]]):
                nearest[i] = a


@numba.njit(**_options)
def _nearest_after(chance, size, i):  # type: ignore[no-untyped-def]
    found = -1
    for k in range(i + 1, len(chance)):
        if size[k] and (found < 0 or chance[i, k] > chance[i, found]):
            found = k
    return found


@numba.njit(**_options)
def limit(left, right, height, least):  # type: ignore[no-untyped-def]
    """Turns the means at which groups were joined, in place, into the largest `same_at` at which
    each two and all within them are one sense.

    That is the mean itself, and where both are big enough to be senses, at most the mean over
    LOOSER times the one within the looser of the two: groups that are loose themselves may be
    further apart.
    """
    n = len(left)
    size, within = np.ones(2 * n), np.zeros(2 * n)  # of each piece; within: the sum over its pairs
    allowed = np.full(2 * n, np.inf)
    for step in range(n - 1):
        a, b, mean = left[step], right[step], np.float64(height[step])
        size[n + step] = size[a] + size[b]
        within[n + step] = within[a] + within[b] + size[a] * size[b] * mean
        most = mean
        if size[a] >= least and size[b] >= least:
            looser = min(_mean_pair(within[a], size[a]), _mean_pair(within[b], size[b]))
            most = min(mean, mean / (LOOSER * looser))
        allowed[n + step] = min(most, allowed[a], allowed[b])
        height[step] = allowed[n + step]


@numba.njit(inline="always", **_options)
def _mean_pair(total, size):  # type: ignore[no-untyped-def]
    return total / (size * (size - 1.0) / 2.0)


@numba.njit(**_options)
def cut(left, right, height, same_at):  # type: ignore[no-untyped-def]
    """The group of each context, named after its first one: (n,) int64. height: as `limit` leaves
    it.
    """
    n = len(left)
    name = np.arange(2 * n)  # of each piece: its first context
    group = np.arange(n)
    for step in range(n - 1):
        a, b = name[left[step]], name[right[step]]
        name[n + step] = min(a, b)
        if height[step] >= same_at:
            for i in range(n):
                if group[i] == a or group[i] == b:
                    group[i] = min(a, b)
    return group


@numba.njit(**_options)
def _drop_small(group, least):  # type: ignore[no-untyped-def]
    size = np.zeros(len(group), np.int64)
    for g in group:
        size[g] += 1
    for i in range(len(group)):
        if size[group[i]] < least:
            group[i] = NONE


@numba.njit(**_options)
def _name_senses(group, mass, sense):  # type: ignore[no-untyped-def]
    """Groups numbered by mass, the largest first; of equal ones that with the first context.
    Returns how many.
    """
    n = len(group)
    total, first = np.zeros(n), np.full(n, n)
    for i in range(n):
        if group[i] >= 0:
            total[group[i]] += mass[i]
            first[group[i]] = min(first[group[i]], i)
    sense[:] = NONE
    number = 0
    while True:
        best = -1
        for g in range(n):
            if first[g] < n and (
                best < 0
                or total[g] > total[best]
                or (total[g] == total[best] and first[g] < first[best])
            ):
                best = g
        if best < 0:
            return number
        for i in range(n):
            if group[i] == best:
                sense[i] = number
        first[best] = n
        number += 1


@numba.njit(**_options)
def _describe(first, same, broad, mass, shown, words, sense, count, senses):  # type: ignore[no-untyped-def]
    _, size, share, within, between, medoid, _, kinds = senses
    inside = 0.0
    for i in range(len(mass)):
        inside += mass[i] if sense[i] >= 0 else 0.0
    for s in range(count):
        slot, held = first + s, np.flatnonzero(sense == s)
        size[slot], share[slot] = len(held), mass[held].sum() / inside
        kinds[slot] = len(np.unique(words[held]))
        medoid[slot], within[slot] = _middle(same, held, shown)
        between[slot] = np.nan
        for other in range(count):
            if other != s:
                mean = _mean_between(same, held, np.flatnonzero(sense == other))
                if np.isnan(between[slot]) or mean > between[slot]:
                    between[slot] = mean


@numba.njit(**_options)
def _middle(chance, held, shown):  # type: ignore[no-untyped-def]
    """The shown context most alike to all others of its sense, or NONE, and the mean of two."""
    best, best_total, everything = NONE, -1.0, 0.0
    for i in held:
        total = 0.0
        for k in held:
            total += chance[i, k] if k != i else 0.0
        everything += total
        if shown[i] and total > best_total:
            best, best_total = i, total
    pairs = len(held) * (len(held) - 1)
    return best, everything / pairs if pairs else np.nan


@numba.njit(**_options)
def _mean_between(chance, a, b):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in a:
        for k in b:
            total += chance[i, k]
    return total / (len(a) * len(b))


@numba.njit(**_options)
def _join_fields(first, broad, sense, count, field):  # type: ignore[no-untyped-def]
    """Senses joined by average linkage while their mean broad chance is BROAD_AT or more.

    Sets each sense's broad one, numbered by its first sense; returns the largest mean between two
    senses of different broad ones, NaN where there is only one.
    """
    if count == 0:
        return np.nan
    mean, weight = np.zeros((count, count)), np.zeros(count)
    name = np.arange(count)
    for s in range(count):
        held = np.flatnonzero(sense == s)
        weight[s] = len(held)
        for other in range(s):
            mean[s, other] = mean[other, s] = _mean_between(
                broad, held, np.flatnonzero(sense == other)
            )
    apart = mean.copy()
    while True:
        a, b = -1, -1
        for s in range(count):
            for other in range(s + 1, count):
                if weight[s] and weight[other] and (a < 0 or mean[s, other] > mean[a, b]):
                    a, b = s, other
        if a < 0 or mean[a, b] < BROAD_AT:
            break
        for k in range(count):
            mean[a, k] = mean[k, a] = (weight[a] * mean[a, k] + weight[b] * mean[b, k]) / (
                weight[a] + weight[b]
            )
        weight[a] += weight[b]
        weight[b] = 0
        name[name == b] = a
    number, numbers = 0, np.full(count, NONE)
    for s in range(count):
        if numbers[name[s]] < 0:
            numbers[name[s]] = number
            number += 1
        field[first + s] = numbers[name[s]]
    most = np.nan
    for s in range(count):
        for other in range(s):
            if name[s] != name[other] and not apart[s, other] <= most:
                most = apart[s, other]
    return most


@numba.njit(**_options)
def _score(same, mass):  # type: ignore[no-untyped-def]
    """The chance that two different firings, drawn by activation, mean the same, and the ends of
    its 90 % interval by the jackknife over contexts, on the logit.

    sum over i != k of p_i p_k P_ik / (1 - sum p_i^2): a mean over pairs, whose level does not
    depend on how many contexts there are. Source: Leinster and Cobbold 2012, order 2, without the
    pairs of a context with itself; the jackknife: Efron and Stein 1981.
    """
    n = len(mass)
    toward, total, squares = np.zeros(n), mass.sum(), 0.0
    for i in range(n):
        for k in range(n):
            if k != i:
                toward[i] += mass[k] * same[i, k]
        squares += mass[i] * mass[i]
    agreed = 0.0
    for i in range(n):
        agreed += mass[i] * toward[i]
    pairs = total * total - squares
    if n < 3 or pairs <= 0:
        return np.nan, np.nan, np.nan
    alike = agreed / pairs
    least, most = 1e-4, 1.0 - 1e-4
    logits = np.empty(n)
    for i in range(n):
        rest = total - mass[i]
        left = (agreed - 2 * mass[i] * toward[i]) / (rest * rest - (squares - mass[i] * mass[i]))
        left = min(max(left, least), most)
        logits[i] = np.log(left / (1.0 - left))
    error = np.sqrt((n - 1) / n * ((logits - logits.mean()) ** 2).sum())
    kept = min(max(alike, least), most)
    middle = np.log(kept / (1.0 - kept))
    low = 1.0 / (1.0 + np.exp(-(middle - 1.645 * error)))
    high = 1.0 / (1.0 + np.exp(-(middle + 1.645 * error)))
    return alike, low, high
