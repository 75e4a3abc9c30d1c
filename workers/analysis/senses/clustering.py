"""Groups each neuron's contexts by their vectors: average linkage with limits, compiled, a neuron a
thread.

Arrays in, arrays changed. Each neuron is the work of one thread, in the order of its contexts, so
the number of threads changes nothing. How the limits were found is in docs/measures.md.
"""

from __future__ import annotations

import numba
import numpy as np

NONE = -1  # in place of a sense: the context is in none

# The greatest z at which two groups are one, at the default alpha. z: distance less the mean
# distance of random tokens, over its deviation. A group is big when it has enough contexts to be a
# sense.
SMALL_PAIR, OTHER_PAIR = -1.7, -1.4
# Of two big groups: BASE + LOOSENESS * top - VARIETY * variety, less ONE_TOKEN when either has a
# single peak token.
BASE, LOOSENESS, VARIETY, ONE_TOKEN = 2.18, 0.54, 8.62, 2.08

# Share of a sense's contexts on its two commonest peak tokens, a word with and without a capital,
# from which it is looked into for two uses.
ONE_WORD = 0.8
# variance between two uses of one word, in that of random tokens, from which they are two senses
SPLIT = 0.034
DOUBT = 0.5  # of SPLIT: from there to it, the score takes the two uses for ever more apart

_options = {"nogil": True, "cache": True, "error_model": "numpy"}


@numba.njit(parallel=True, **_options)
def agglomerate(  # type: ignore[no-untyped-def]
    vectors,
    place,
    offsets,
    weights,
    token,
    centre,
    spread,
    least,
    shift,
    left,
    right,
    excess,
    distances,
    spots,
):
    """The whole tree of every neuron.

    vectors: (U, P) float32, unit length unless `weights` is given; place: (C,) int64, the vector of
    each context; offsets: (N + 1,) int64, neuron j has the contexts offsets[j]:offsets[j + 1];
    weights: (N, P) float32, what the vectors' dimensions count for in the cosines of each neuron,
    or (0, P) when all count alike; token: (C,) at the peaks; centre, spread: (N,) of the distances
    between random tokens; least: (N,) contexts of the smallest sense; shift: (N,) by how much all
    limits are raised, in z. Set: left, right (C,) int16 and excess (C,) float64, the merges of
    neuron j from offsets[j] on, one fewer than it has contexts, with the pieces numbered as in
    `polyseme.contract.files.results.MERGE`. excess: the smallest shift that allows the merge and
    all within it. distances: (K,) float32, the cosine distances between neuron j's n contexts as an
    (n, n) matrix from spots[j] on.
    """
    for j in numba.prange(len(offsets) - 1):
        first, end = offsets[j], offsets[j + 1]
        n = end - first
        if n == 0:
            continue
        own = distances[spots[j] : spots[j] + n * n].reshape(n, n)
        _measure(
            vectors, place[first:end], weights[j] if len(weights) else weights[:0].reshape(-1), own
        )
        z = (own.astype(np.float64) - centre[j]) / spread[j]
        tree = left[first:end], right[first:end], excess[first:end]
        _link(z, _kinds(token[first:end]), least[j], shift[j], *tree)


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
def _kinds(token):  # type: ignore[no-untyped-def]
    """The tokens numbered from 0 in the order of their appearance."""
    kinds = np.zeros(len(token), np.int64)
    count = 0
    for i in range(len(token)):
        kinds[i] = -1
        for k in range(i):
            if token[k] == token[i]:
                kinds[i] = kinds[k]
                break
        if kinds[i] < 0:
            kinds[i] = count
            count += 1
    return kinds


@numba.njit(inline="always", **_options)
def _limit(size_a, size_b, kinds_a, kinds_b, top_a, top_b, least):  # type: ignore[no-untyped-def]
    """The greatest z at which two groups are one.

    Groups of many words must be nearer to each other than groups of few, whose distance has more of
    the words in it; groups that are loose themselves may be further apart. A group of one word
    looks tight for being one word.
    """
    if size_a < least and size_b < least:
        return SMALL_PAIR
    if size_a < least or size_b < least:
        return OTHER_PAIR
    variety = (1 - 1 / np.sqrt(kinds_a)) * (1 - 1 / np.sqrt(kinds_b))
    one = ONE_TOKEN if min(kinds_a, kinds_b) == 1 else 0.0
    return min(BASE + LOOSENESS * max(top_a, top_b) - VARIETY * variety - one, OTHER_PAIR)


@numba.njit(**_options)
def _link(z, kind, least, shift, left, right, excess):  # type: ignore[no-untyped-def]
    """Average linkage (UPGMA), each time the two nearest groups that may be merged; of equal ones
    the first pair.

    When no limit allows a merge, the rest merges by distance alone, so that the tree is whole.
    Spoils `z`. Source: Sokal and Michener 1958, in the update of Lance and Williams 1967; the
    limits are ours.
    """
    n = len(z)
    size, piece, count = np.ones(n, np.int64), np.arange(n), np.ones(n, np.int64)
    top, worst = np.full(n, -np.inf), np.full(n, -np.inf)
    holds = np.zeros((n, n), np.bool_)
    for i in range(n):
        holds[i, kind[i]] = True
    nearest = np.empty(n, np.int64)  # among the later ones, of those that may be merged
    free, stale, step = False, True, 0
    while step < n - 1:
        if stale:
            for i in range(n):
                nearest[i] = _nearest_after(z, size, count, top, least, shift, free, i)
            stale = False
        a = -1
        for i in range(n):
            if size[i] and nearest[i] >= 0 and (a < 0 or z[i, nearest[i]] < z[a, nearest[a]]):
                a = i
        if a < 0:
            free = stale = True
            continue
        b = nearest[a]
        bound = _limit(size[a], size[b], count[a], count[b], top[a], top[b], least)
        worst[a] = max(worst[a], worst[b], z[a, b] - bound)
        left[step], right[step], excess[step] = piece[a], piece[b], worst[a]
        _join(z, size, count, top, holds, a, b)
        piece[a] = n + step
        step += 1
        for i in range(n):
            if not size[i]:
                continue
            if i == a or nearest[i] == a or nearest[i] == b:
                nearest[i] = _nearest_after(z, size, count, top, least, shift, free, i)
            elif (
                i < a
                and (nearest[i] < 0 or z[i, a] < z[i, nearest[i]])
                and _may(z, size, count, top, least, shift, free, i, a)
            ):
                nearest[i] = a


@numba.njit(inline="always", **_options)
def _may(z, size, count, top, least, shift, free, i, k):  # type: ignore[no-untyped-def]
    return (
        free
        or z[i, k] <= _limit(size[i], size[k], count[i], count[k], top[i], top[k], least) + shift
    )


@numba.njit(**_options)
def _nearest_after(z, size, count, top, least, shift, free, i):  # type: ignore[no-untyped-def]
    found = -1
    if not size[i]:
        return found
    for k in range(i + 1, len(z)):
        nearer = size[k] > 0 and (found < 0 or z[i, k] < z[i, found])
        if nearer and _may(z, size, count, top, least, shift, free, i, k):
            found = k
    return found


@numba.njit(**_options)
def _join(z, size, count, top, holds, a, b):  # type: ignore[no-untyped-def]
    """Makes group b part of group a."""
    top[a] = max(top[a], top[b], z[a, b])
    for k in range(len(z)):
        if size[k] and k != a and k != b:
            z[a, k] = z[k, a] = (size[a] * z[a, k] + size[b] * z[b, k]) / (size[a] + size[b])
    size[a] += size[b]
    size[b] = 0
    count[a] = 0
    for t in range(holds.shape[1]):
        holds[a, t] |= holds[b, t]
        count[a] += holds[a, t]


@numba.njit(parallel=True, **_options)
def cut(offsets, left, right, excess, shift, least, place, uses, token, mass, sense, doubt):  # type: ignore[no-untyped-def]
    """The groups that are left when merging stops above a shift, large ones as senses by mass.

    A sense of one word is split in two where its uses differ enough. shift, least: (N,) as in
    `agglomerate`; uses: (U, Q) float32, vectors that tell uses of one word apart, of random tokens
    1 long on average (root mean square), or (0, 0); mass: (C,) float64.
    Set: sense (C,) int32, 0 the one with the largest mass (of equal ones that with the first
    context), or NONE; doubt (C,) float64, at the contexts of the second use of a word that was not
    split: how far the two are apart, up to 1 where they would be split; else 0.
    """
    for j in numba.prange(len(offsets) - 1):
        first, end = offsets[j], offsets[j + 1]
        if end == first:
            continue
        group = _groups(left[first:end], right[first:end], excess[first:end], shift[j])
        _drop_small(group, least[j])
        if len(uses):
            _split_words(
                group, _kinds(token[first:end]), uses, place[first:end], least[j], doubt[first:end]
            )
        _name_senses(group, mass[first:end], sense[first:end])


@numba.njit(**_options)
def _groups(left, right, excess, limit):  # type: ignore[no-untyped-def]
    """The group of each context, named after its first one."""
    n = len(left)
    name = np.arange(2 * n)  # of each piece: its first context
    kept = np.ones(2 * n, np.bool_)
    group = np.arange(n)
    for step in range(n - 1):
        kept[n + step] = kept[left[step]] and kept[right[step]] and excess[step] <= limit
        a, b = name[left[step]], name[right[step]]
        name[n + step] = min(a, b)
        if kept[n + step]:
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
def _split_words(group, kind, uses, place, least, doubt):  # type: ignore[no-untyped-def]
    for name in range(len(group)):
        held = np.flatnonzero(group == name)
        if len(held) < 4 * least or np.sort(np.bincount(kind[held]))[-2:].sum() < ONE_WORD * len(
            held
        ):
            continue
        second, apart = two_uses(uses[place[held]], kind[held])
        if not least <= second.sum() <= len(held) - least:
            continue
        if apart >= SPLIT:
            # Named after the first of its contexts that does not carry the name already.
            moved = held[second]
            group[moved] = moved[0] if moved[0] != name else moved[1]
        else:
            doubt[held[second]] = max(apart / SPLIT - DOUBT, 0.0) / (1.0 - DOUBT)


@numba.njit(**_options)
def two_uses(vectors, kind):  # type: ignore[no-untyped-def]
    """Which vectors are of the second of two uses, and the variance that lies between the two.

    kind: the token of each. Each vector without what its token's have in common; their directions
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


@numba.njit(**_options)
def _name_senses(group, mass, sense):  # type: ignore[no-untyped-def]
    """Groups numbered by mass, the largest first."""
    n = len(group)
    total, first = np.zeros(n), np.full(n, n)
    for i in range(n):
        if group[i] >= 0:
            total[group[i]] += mass[i]
            first[group[i]] = min(first[group[i]], i)
    sense[:] = NONE
    for number in range(n):
        best = -1
        for g in range(n):
            if first[g] < n and (
                best < 0
                or total[g] > total[best]
                or (total[g] == total[best] and first[g] < first[best])
            ):
                best = g
        if best < 0:
            return
        for i in range(n):
            if group[i] == best:
                sense[i] = number
        first[best] = n


@numba.njit(parallel=True, **_options)
def describe(offsets, spots, distances, mass, sense, share, size, cohesion, separation, medoid):  # type: ignore[no-untyped-def]
    """What each sense looks like. Sense s of neuron j has the slot offsets[j] + s.

    Set, (C,) each: share float64; size int32, 0 where there is no sense; cohesion and separation
    float32, mean cosine distances, NaN for a sense of one context and for an only sense; medoid
    int32, a context counted from offsets[j].
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
            medoid[slot], cohesion[slot] = _middle(own, held)
            separation[slot] = np.nan
            for other in range(count):
                if other != s:
                    gap = _mean_between(own, held, np.flatnonzero(given == other))
                    if np.isnan(separation[slot]) or gap < separation[slot]:
                        separation[slot] = gap


@numba.njit(**_options)
def _middle(distances, held):  # type: ignore[no-untyped-def]
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
def score_neurons(  # type: ignore[no-untyped-def]
    offsets,
    spots,
    distances,
    mass,
    sense,
    doubt,
    seeds,
    draws,
    covered,
    score,
    low,
    high,
    effective,
    similar,
):
    """What is said of a neuron as a whole.

    doubt: (C,) as in `cut`; seeds: (N,) uint64, of the bootstrap; draws: its resamples.
    Set, (N,) float64 each: covered, the share of the mass in senses; score, the chance that two
    firings differ in meaning; low and high, the 5th and 95th percentile of the score over resampled
    contexts; effective, the number of senses of equal size with the same entropy; similar, the
    mass-weighted mean cosine between different contexts. NaN where there is nothing to say.
    """
    for j in numba.prange(len(offsets) - 1):
        first, end = offsets[j], offsets[j + 1]
        n = end - first
        own = distances[spots[j] : spots[j] + n * n].reshape(n, n)
        given, weight, unsure = sense[first:end], mass[first:end], doubt[first:end]
        count = given.max() + 1 if n else 0
        similar[j] = _mean_cosine(own, weight)
        covered[j] = score[j] = low[j] = high[j] = effective[j] = np.nan
        if n:
            covered[j] = weight[given >= 0].sum() / weight.sum()
        if count:
            shares, second, most = np.zeros(count), np.zeros(count), np.zeros(count)
            for i in range(n):
                if given[i] >= 0:
                    shares[given[i]] += weight[i]
                    second[given[i]] += weight[i] * (unsure[i] > 0)
                    most[given[i]] = max(most[given[i]], unsure[i])
            score[j], effective[j] = (
                _score(shares, second, most),
                np.exp(_entropy(shares, second, most)),
            )
            low[j], high[j] = _bootstrap(given, weight, unsure, count, seeds[j], draws)


@numba.njit(**_options)
def _score(shares, second, weight):  # type: ignore[no-untyped-def]
    """1 - sum of squared shares; two uses of a word add what splitting it would, times its doubt.

    By sense: shares, the mass; second, the mass that is of the second use of a word; weight, the
    doubt.
    """
    total = shares.sum()
    score = 1.0
    for s in range(len(shares)):
        if shares[s] > 0:
            share, part = shares[s] / total, second[s] / shares[s]
            score -= share * share * (1.0 - weight[s] * 2.0 * part * (1.0 - part))
    return score if total > 0 else 0.0


@numba.njit(**_options)
def _entropy(shares, second, weight):  # type: ignore[no-untyped-def]
    """Of the shares, with two uses of a word as in `_score`."""
    total = shares.sum()
    entropy = 0.0
    for s in range(len(shares)):
        if shares[s] > 0:
            share, part = shares[s] / total, second[s] / shares[s]
            entropy -= share * np.log(share)
            if 0.0 < part < 1.0:
                entropy -= (
                    weight[s] * share * (part * np.log(part) + (1.0 - part) * np.log(1.0 - part))
                )
    return entropy


@numba.njit(**_options)
def _bootstrap(sense, mass, doubt, count, seed, draws):  # type: ignore[no-untyped-def]
    """The 5th and 95th percentile of the scores of resamples."""
    doubtful = doubt.any()
    if count == 1 and not doubtful:
        return 0.0, 0.0  # as every resample gives
    n, found = len(sense), np.empty(draws)
    # What is in no sense has the last slot, so that no branch has to be foretold.
    slot = np.where(sense >= 0, sense, count)
    unsure = np.where(doubt > 0, mass, 0.0)
    shares, second, weight = np.zeros(count + 1), np.zeros(count + 1), np.zeros(count + 1)
    # Shares of a resample are more unequal than those it was drawn from, by what n equal contexts
    # of this much mass would show.
    inside = mass[sense >= 0]
    equal = inside.sum() ** 2 / (inside * inside).sum()
    widening = equal / max(equal - 1.0, 1.0)
    state = seed
    for draw in range(draws):
        shares[:], second[:], weight[:] = 0.0, 0.0, 0.0
        for _ in range(n):
            state += np.uint64(0x9E3779B97F4A7C15)
            i = np.int64(_mix(state) % np.uint64(n))
            shares[slot[i]] += mass[i]
            if doubtful:
                second[slot[i]] += unsure[i]
                weight[slot[i]] = max(weight[slot[i]], doubt[i])
        found[draw] = min(_score(shares[:count], second, weight) * widening, 1.0)
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
def add_centres(vectors, place, offsets, weights, owner, centres):  # type: ignore[no-untyped-def]
    """Adds each context's unit vector, as its neuron sees it, to its sense's row of `centres`, (M,
    P) float32.

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
