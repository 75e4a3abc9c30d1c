"""Groups each neuron's contexts by their vectors: average linkage, compiled, a neuron a thread. Arrays in, arrays out.

Each neuron is the work of one thread, in the order of its contexts, so the number of threads changes nothing.
"""

from __future__ import annotations

import numba
import numpy as np

NONE = -1  # in place of a sense: the context is in none

_options = {"nogil": True, "cache": True, "error_model": "numpy"}


@numba.njit(parallel=True, **_options)
def agglomerate(vectors, place, offsets, weights, left, right, height, distances, spots):  # type: ignore[no-untyped-def]
    """The whole tree of every neuron.

    vectors: (U, P) float32, unit length unless `weights` is given; place: (C,) int64, the vector of each context;
    offsets: (N + 1,) int64, neuron j has the contexts offsets[j]:offsets[j + 1]; weights: (N, P) float32, what the
    vectors' dimensions count for in the cosines of each neuron, or (0, P) when all count alike.
    Set: left, right (C,) int16 and height (C,) float32, the merges of neuron j from offsets[j] on, one fewer than it
    has contexts, by height, with the pieces numbered as in `contract.results.MERGE`; heights are cosine distances.
    distances: (K,) float32, the distances between neuron j's n contexts as an (n, n) matrix from spots[j] on.
    """
    for j in numba.prange(len(offsets) - 1):
        first, end = offsets[j], offsets[j + 1]
        n = end - first
        if n == 0:
            continue
        own = distances[spots[j] : spots[j] + n * n].reshape(n, n)
        _measure(vectors, place[first:end], weights[j] if len(weights) else weights[:0].reshape(-1), own)
        _link(own.copy(), left[first:end], right[first:end], height[first:end])


@numba.njit(fastmath=True, **_options)
def _measure(vectors, place, weight, distances):  # type: ignore[no-untyped-def]
    """Cosine distances between the rows of `vectors` at `place`: (n, n)."""
    n, width = len(place), vectors.shape[1]
    rows = np.empty((n, width), np.float32)
    for i in range(n):
        rows[i] = vectors[place[i]]
        if len(weight):
            rows[i] *= np.sqrt(weight)
            rows[i] /= max(np.sqrt((rows[i] * rows[i]).sum()), np.float32(1e-12))
    for i in range(n):
        distances[i, i] = 0.0
        for k in range(i):
            total = np.float32(0.0)
            for d in range(width):
                total += rows[i, d] * rows[k, d]
            distances[i, k] = distances[k, i] = max(np.float32(1.0) - total, np.float32(0.0))


@numba.njit(**_options)
def _link(distances, left, right, height):  # type: ignore[no-untyped-def]
    """Average linkage (UPGMA), each time the two nearest pieces; of equal distances the first pair. Spoils `distances`.

    Source: Sokal and Michener 1958, in the update of Lance and Williams 1967.
    """
    n = len(distances)
    size, piece = np.ones(n, np.int64), np.arange(n)
    alive = np.ones(n, np.bool_)
    nearest = np.empty(n, np.int64)  # among the later ones
    for i in range(n - 1):
        nearest[i] = _nearest_after(distances, alive, i)
    for step in range(n - 1):
        a = -1
        for i in range(n - 1):
            known = alive[i] and nearest[i] >= 0
            if known and (a < 0 or distances[i, nearest[i]] < distances[a, nearest[a]]):
                a = i
        b = nearest[a]
        left[step], right[step], height[step] = piece[a], piece[b], distances[a, b]
        for k in range(n):
            if alive[k] and k != a and k != b:
                mean = (size[a] * distances[a, k] + size[b] * distances[b, k]) / (size[a] + size[b])
                distances[a, k] = distances[k, a] = mean
        alive[b] = False
        size[a] += size[b]
        piece[a] = n + step
        for i in range(n - 1):
            if not alive[i]:
                continue
            if i == a or nearest[i] == a or nearest[i] == b:
                nearest[i] = _nearest_after(distances, alive, i)
            elif i < a and distances[i, a] < distances[i, nearest[i]]:
                nearest[i] = a


@numba.njit(inline="always", **_options)
def _nearest_after(distances, alive, i):  # type: ignore[no-untyped-def]
    found = -1
    for k in range(i + 1, len(distances)):
        if alive[k] and (found < 0 or distances[i, k] < distances[i, found]):
            found = k
    return found


@numba.njit(parallel=True, **_options)
def cut(offsets, left, right, height, limits, least, mass, sense):  # type: ignore[no-untyped-def]
    """The groups that are left when merging stops above a height, large ones as senses by mass.

    limits: (N,) float32 heights; least: (N,) int64, contexts of the smallest group that is a sense; mass: (C,) float64.
    Set: sense (C,) int32, 0 the one with the largest mass (of equal ones that with the first context), or NONE.
    """
    for j in numba.prange(len(offsets) - 1):
        first, end = offsets[j], offsets[j + 1]
        if end > first:
            group = _groups(left[first:end], right[first:end], height[first:end], limits[j])
            _name_senses(group, least[j], mass[first:end], sense[first:end])


@numba.njit(**_options)
def _groups(left, right, height, limit):  # type: ignore[no-untyped-def]
    """The group of each context, named after its first one."""
    n = len(left)
    name = np.arange(2 * n)  # of each piece: its first context
    group = np.arange(n)
    for step in range(n - 1):
        if height[step] > limit:
            break
        a, b = name[left[step]], name[right[step]]
        name[n + step] = min(a, b)
        for i in range(n):
            if group[i] == a or group[i] == b:
                group[i] = min(a, b)
    return group


@numba.njit(**_options)
def _name_senses(group, least, mass, sense):  # type: ignore[no-untyped-def]
    n = len(group)
    size, total = np.zeros(n, np.int64), np.zeros(n)
    for i in range(n):
        size[group[i]] += 1
        total[group[i]] += mass[i]
    sense[:] = NONE
    for number in range(n):
        best = -1
        for g in range(n):
            if size[g] >= least and (best < 0 or total[g] > total[best]):
                best = g
        if best < 0:
            return
        for i in range(n):
            if group[i] == best:
                sense[i] = number
        size[best] = 0


@numba.njit(parallel=True, **_options)
def describe(offsets, spots, distances, mass, sense, share, size, cohesion, separation, medoid):  # type: ignore[no-untyped-def]
    """What each sense looks like. Sense s of neuron j has the slot offsets[j] + s.

    Set, (C,) each: share float64; size int32, 0 where there is no sense; cohesion and separation float32, mean cosine
    distances, NaN for a sense of one context and for an only sense; medoid int32, a context counted from offsets[j].
    """
    for j in numba.prange(len(offsets) - 1):
        first, end = offsets[j], offsets[j + 1]
        n = end - first
        own = distances[spots[j] : spots[j] + n * n].reshape(n, n)
        given = sense[first:end]
        count = given.max() + 1 if n else 0
        within = 0.0
        for i in range(n):
            within += mass[first + i] if given[i] >= 0 else 0.0
        for s in range(count):
            slot = first + s
            held = np.flatnonzero(given == s)
            size[slot] = len(held)
            share[slot] = mass[first:end][held].sum() / within
            medoid[slot], cohesion[slot] = _centre(own, held)
            separation[slot] = np.nan
            for other in range(count):
                if other != s:
                    gap = _mean_between(own, held, np.flatnonzero(given == other))
                    if np.isnan(separation[slot]) or gap < separation[slot]:
                        separation[slot] = gap


@numba.njit(**_options)
def _centre(distances, held):  # type: ignore[no-untyped-def]
    """The context nearest to all others of its sense, and the mean distance between two of them."""
    best, best_total, everything = held[0], np.inf, 0.0
    for i in held:
        total = 0.0
        for k in held:
            total += distances[i, k]
        everything += total
        if total < best_total:
            best, best_total = i, total
    pairs = len(held) * (len(held) - 1)
    return best, everything / pairs if pairs else np.nan


@numba.njit(**_options)
def _mean_between(distances, a, b):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in a:
        for k in b:
            total += distances[i, k]
    return total / (len(a) * len(b))


@numba.njit(parallel=True, **_options)
def score_neurons(offsets, spots, distances, mass, sense, seeds, draws, covered, score, low, high, effective, similar):  # type: ignore[no-untyped-def]
    """What is said of a neuron as a whole.

    seeds: (N,) uint64, of the bootstrap; draws: its resamples.
    Set, (N,) float64 each: covered, the share of the mass in senses; score, 1 - sum of squared shares; low and high,
    the 5th and 95th percentile of the score over resampled contexts; effective, exp(entropy of the shares);
    similar, the mass-weighted mean cosine between different contexts. NaN where there is nothing to say.
    """
    for j in numba.prange(len(offsets) - 1):
        first, end = offsets[j], offsets[j + 1]
        n = end - first
        own = distances[spots[j] : spots[j] + n * n].reshape(n, n)
        given, weight = sense[first:end], mass[first:end]
        count = given.max() + 1 if n else 0
        similar[j] = _mean_cosine(own, weight)
        covered[j] = score[j] = low[j] = high[j] = effective[j] = np.nan
        if n:
            covered[j] = weight[given >= 0].sum() / weight.sum()
        if count:
            shares = _shares(given, weight, np.arange(n), count)
            score[j] = 1.0 - (shares * shares).sum()
            effective[j] = np.exp(-(shares * np.log(np.maximum(shares, 1e-300))).sum())
            low[j], high[j] = _bootstrap(given, weight, count, seeds[j], draws)


@numba.njit(**_options)
def _shares(sense, mass, contexts, count):  # type: ignore[no-untyped-def]
    """Of the mass of these contexts that is in senses; all 0 when none is."""
    shares = np.zeros(count)
    for i in contexts:
        if sense[i] >= 0:
            shares[sense[i]] += mass[i]
    total = shares.sum()
    return shares / total if total > 0 else shares


@numba.njit(**_options)
def _bootstrap(sense, mass, count, seed, draws):  # type: ignore[no-untyped-def]
    n = len(sense)
    found = np.empty(draws)
    chosen = np.empty(n, np.int64)
    # Shares of a resample are more unequal than those it was drawn from, by what n equal contexts of this much mass
    # would show.
    inside = mass[sense >= 0]
    equal = inside.sum() ** 2 / (inside * inside).sum()
    widening = equal / max(equal - 1.0, 1.0)
    state = seed
    for draw in range(draws):
        for i in range(n):
            state += np.uint64(0x9E3779B97F4A7C15)
            chosen[i] = _mix(state) % np.uint64(n)
        shares = _shares(sense, mass, chosen, count)
        found[draw] = min((1.0 - (shares * shares).sum()) * widening, 1.0)
    found.sort()
    return found[int(0.05 * (draws - 1))], found[int(np.ceil(0.95 * (draws - 1)))]


@numba.njit(inline="always", **_options)
def _mix(z):  # type: ignore[no-untyped-def]
    """The SplitMix64 finaliser (Steele, Lea and Flood 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(**_options)
def _mean_cosine(distances, mass):  # type: ignore[no-untyped-def]
    total = pairs = 0.0
    for i in range(len(mass)):
        for k in range(i):
            total += mass[i] * mass[k] * (1.0 - distances[i, k])
            pairs += mass[i] * mass[k]
    return total / pairs if pairs > 0 else np.nan


@numba.njit(parallel=True, **_options)
def average_precision(similarity, fires, neuron, found):  # type: ignore[no-untyped-def]
    """How well each sense's similarities rank the tokens on which its neuron fires.

    similarity: (S, R) float32; fires: (N, R) int8, 1 fires, 0 does not, -1 left out; neuron: (S,) int64.
    Set: found (S,) float64, the mean over the firing tokens of the share of firing ones among all at least as similar;
    NaN when none fires. Source: average precision as in scikit-learn, ties counted together.
    """
    for s in numba.prange(len(similarity)):
        found[s] = _precision(similarity[s], fires[neuron[s]])


@numba.njit(**_options)
def _precision(similarity, fires):  # type: ignore[no-untyped-def]
    hits = np.sort(similarity[fires == 1])
    count = len(hits)
    if count == 0:
        return np.nan
    # reach[h]: tokens that are at least as similar as hits[:h] and less similar than hits[h].
    reach = np.zeros(count + 1, np.int64)
    for r in range(len(similarity)):
        if fires[r] >= 0:
            reach[np.searchsorted(hits, similarity[r], side="right")] += 1
    total, above, firing = 0.0, 0, 0
    for h in range(count - 1, -1, -1):
        above += reach[h + 1]
        firing = max(firing, count - np.searchsorted(hits, hits[h]))
        total += firing / above
    return total / count


@numba.njit(parallel=True, **_options)
def add_centres(vectors, place, offsets, weights, owner, centres):  # type: ignore[no-untyped-def]
    """Adds each context's unit vector, as its neuron sees it, to its sense's row of `centres`, (M, P) float32.

    owner: (C,) int64, the row, or negative; the rest as in `agglomerate`.
    """
    for j in numba.prange(len(offsets) - 1):
        for i in range(offsets[j], offsets[j + 1]):
            if owner[i] < 0:
                continue
            row = vectors[place[i]]
            if len(weights):
                row = row * np.sqrt(weights[j])
                row = row / max(np.sqrt((row * row).sum()), np.float32(1e-12))
            centres[owner[i]] += row
