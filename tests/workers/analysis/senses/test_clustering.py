"""The compiled kernels against plain programs in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from polyseme.workers.analysis.senses import clustering
from polyseme.workers.analysis.senses.clustering import (
    BASE,
    DOUBT,
    LOOSENESS,
    NONE,
    ONE_TOKEN,
    OTHER_PAIR,
    SMALL_PAIR,
    SPLIT,
    VARIETY,
)

SIZES = (0, 1, 2, 5, 40, 23)


CENTRE, SPREAD = 1.0, 0.25
FREE = 1e9  # a shift that allows every merge


@dataclass
class Grouped:
    offsets: np.ndarray
    spots: np.ndarray
    distances: np.ndarray
    token: np.ndarray
    least: np.ndarray
    left: np.ndarray
    right: np.ndarray
    excess: np.ndarray

    def matrix(self, neuron: int) -> np.ndarray:
        n = self.offsets[neuron + 1] - self.offsets[neuron]
        return (
            self.distances[self.spots[neuron] : self.spots[neuron] + n * n]
            .reshape(n, n)
            .astype(np.float64)
        )

    def own(self, neuron: int, column: np.ndarray) -> np.ndarray:
        return column[self.offsets[neuron] : self.offsets[neuron + 1]]

    def cut(
        self, mass: np.ndarray, shift: float = 0.0, uses: np.ndarray | None = None
    ) -> np.ndarray:
        """The sense of every context."""
        return self.cut_in_doubt(mass, shift, uses)[0]

    def cut_in_doubt(
        self, mass: np.ndarray, shift: float = 0.0, uses: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The sense and the doubt of every context."""
        sense, doubt, neurons = (
            np.zeros(len(mass), np.int32),
            np.zeros(len(mass)),
            len(self.offsets) - 1,
        )
        place = np.arange(len(mass))
        given = np.zeros((0, 0), np.float32) if uses is None else uses
        tree = self.left, self.right, self.excess
        clustering.cut(
            self.offsets,
            *tree,
            np.full(neurons, shift),
            self.least,
            place,
            given,
            self.token,
            mass,
            sense,
            doubt,
        )
        return sense, doubt


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def group(
    vectors: np.ndarray,
    sizes: tuple[int, ...] = SIZES,
    weights: np.ndarray | None = None,
    *,
    token: np.ndarray | None = None,
    least: int = 4,
    shift: float = 0.0,
) -> Grouped:
    """Contexts in the order of the vectors."""
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    spots = np.concatenate([[0], np.cumsum(np.square(sizes))])
    n, neurons = offsets[-1], len(sizes)
    tokens = np.arange(n) if token is None else token
    found = Grouped(
        offsets,
        spots,
        np.zeros(spots[-1], np.float32),
        tokens.astype(np.int32),
        np.full(neurons, least),
        *np.zeros((2, n), np.int16),
        np.zeros(n),
    )
    given = np.zeros((0, 0), np.float32) if weights is None else weights
    scale = np.full(neurons, CENTRE), np.full(neurons, SPREAD)
    limits = found.least, np.full(neurons, shift)
    tree = found.left, found.right, found.excess
    clustering.agglomerate(
        vectors,
        np.arange(n),
        offsets,
        given,
        found.token,
        *scale,
        *limits,
        *tree,
        found.distances,
        spots,
    )
    return found


def limit(
    a: list[int], b: list[int], token: np.ndarray, top: tuple[float, float], least: int
) -> float:
    """The greatest z at which two groups are one."""
    big = (len(a) >= least) + (len(b) >= least)
    if big < 2:
        return SMALL_PAIR if big == 0 else OTHER_PAIR
    kinds = [len(set(token[g].tolist())) for g in (a, b)]
    variety = np.prod([1 - 1 / np.sqrt(k) for k in kinds])
    return min(
        BASE + LOOSENESS * max(top) - VARIETY * variety - ONE_TOKEN * (1 in kinds), OTHER_PAIR
    )


def link_slowly(
    z: np.ndarray, token: np.ndarray, least: int, shift: float
) -> list[tuple[int, int, float]]:
    """The tree from its definition: means over all pairs, anew for every two pieces.

    Two pieces and excess of each.
    """
    n = len(z)
    pieces = {i: [i] for i in range(n)}
    top, worst = dict.fromkeys(range(n), -np.inf), dict.fromkeys(range(n), -np.inf)
    merges: list[tuple[int, int, float]] = []
    free = False
    while len(pieces) > 1:
        found = []
        ordered = sorted(pieces, key=lambda p: pieces[p][0])
        for i, a in enumerate(ordered):
            for b in ordered[i + 1 :]:
                mean = z[np.ix_(pieces[a], pieces[b])].mean()
                bound = limit(pieces[a], pieces[b], token, (top[a], top[b]), least)
                if free or mean <= bound + shift:
                    found.append((mean, len(found), a, b, mean - bound))
        if not found:
            free = True
            continue
        mean, _, a, b, excess = min(found)
        new = n + len(merges)
        worst[new] = max(worst[a], worst[b], excess)
        top[new] = max(top[a], top[b], mean)
        merges.append((a, b, worst[new]))
        pieces[new] = sorted(pieces.pop(a) + pieces.pop(b))
    return merges


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(6, 24))
    return unit(centres[rng.integers(0, 6, sum(SIZES))] + rng.normal(size=(sum(SIZES), 24)))


@pytest.fixture(scope="module")
def grouped(vectors: np.ndarray) -> Grouped:
    return group(vectors)


def test_distances_are_one_minus_the_cosine(vectors: np.ndarray, grouped: Grouped) -> None:
    own = vectors[grouped.offsets[4] : grouped.offsets[5]].astype(np.float64)

    assert np.abs(grouped.matrix(4) - (1 - own @ own.T)).max() < 1e-6


def test_weights_scale_the_dimensions_of_each_neuron() -> None:
    rng = np.random.default_rng(1)
    raw, weights = rng.normal(size=(7, 5)).astype(np.float32), rng.random((2, 5)).astype(np.float32)

    found = group(raw, (4, 3), weights)

    scaled = unit(raw[4:] * np.sqrt(weights[1])).astype(np.float64)
    assert np.abs(found.matrix(1) - (1 - scaled @ scaled.T)).max() < 1e-6


@pytest.mark.parametrize("shift", [-0.5, 0.0, 0.5])
@pytest.mark.parametrize("neuron", range(len(SIZES)))
def test_merges_are_those_of_average_linkage_within_the_limits(
    vectors: np.ndarray, neuron: int, shift: float
) -> None:
    token = np.random.default_rng(4).integers(0, 9, len(vectors))
    grouped = group(vectors, token=token, shift=shift)
    z = (grouped.matrix(neuron) - CENTRE) / SPREAD
    expected = link_slowly(z, grouped.own(neuron, token), 4, shift)

    left, right, excess = (
        grouped.own(neuron, c)[:-1] for c in (grouped.left, grouped.right, grouped.excess)
    )

    assert [{a, b} for a, b in zip(left, right, strict=True)] == [{a, b} for a, b, _ in expected]
    assert np.allclose(excess, [e for _, _, e in expected], atol=1e-5)


def test_with_every_merge_allowed_heights_are_distances(grouped: Grouped) -> None:
    free = group(unit(np.random.default_rng(5).normal(size=(12, 6))), (12,), shift=FREE)
    z = (free.matrix(0) - CENTRE) / SPREAD

    pieces = {i: [i] for i in range(12)}
    for step in range(11):
        a, b = int(free.left[step]), int(free.right[step])
        smallest = min(
            z[np.ix_(p, q)].mean() for p in pieces.values() for q in pieces.values() if p is not q
        )
        assert z[np.ix_(pieces[a], pieces[b])].mean() == pytest.approx(smallest, abs=1e-5)
        pieces[12 + step] = pieces.pop(a) + pieces.pop(b)


def test_equal_distances_merge_the_first_pair() -> None:
    found = group(unit(np.ones((4, 3))), (4,))

    assert list(zip(found.left[:3], found.right[:3], strict=True)) == [(0, 1), (4, 2), (5, 3)]


def circle(*angles: float) -> np.ndarray:
    return unit(np.stack([np.cos(angles), np.sin(angles)], 1))


def test_large_groups_are_senses_by_mass() -> None:
    found = group(circle(0.0, 0.1, 0.2, 1.5, 1.6, 1.7, 4.2), (7,), least=3)

    sense = found.cut(np.array([1.0, 1, 1, 2, 2, 2, 9]))

    assert sense.tolist() == [1, 1, 1, 0, 0, 0, NONE]


def test_a_context_joins_a_sense_more_easily_than_another_context() -> None:
    angle = float(np.arccos(1 - (CENTRE + (SMALL_PAIR + OTHER_PAIR) / 2 * SPREAD)))
    found = group(circle(0.0, 0.0, 0.0, 0.0, angle), (5,))

    assert found.cut(np.ones(5)).tolist() == [0, 0, 0, 0, 0]
    assert found.cut(np.ones(5), shift=-0.5).tolist() == [0, 0, 0, 0, NONE]
    assert group(circle(0.0, angle), (2,), least=2).cut(np.ones(2)).tolist() == [NONE, NONE]


def test_groups_of_many_words_must_be_nearer_than_groups_of_one() -> None:
    angle = float(np.arccos(1 - (CENTRE - 2.5 * SPREAD)))
    vectors = circle(*[0.0] * 6, *[angle] * 6)

    one_word = group(vectors, (12,), token=np.repeat([0, 1], 6))
    many_words = group(vectors, (12,))

    assert set(one_word.cut(np.ones(12))) == {0}
    assert set(many_words.cut(np.ones(12))) == {0, 1}


def test_a_group_of_one_word_must_be_nearer_than_one_of_two_words() -> None:
    angle = float(np.arccos(1 - (CENTRE - 1.9 * SPREAD)))
    vectors = circle(*[0.0] * 6, *[angle] * 6)

    one_word = group(vectors, (12,), token=np.repeat([0, 1], 6))
    two_words = group(vectors, (12,), token=np.repeat([0, 1, 2, 3], 3))

    assert set(one_word.cut(np.ones(12))) == {0, 1}
    assert set(two_words.cut(np.ones(12))) == {0}


def two_clear_uses(contexts: int, gap: float) -> np.ndarray:
    """Vectors of contexts that are of two uses in turn."""
    uses = np.random.default_rng(6).normal(size=(contexts, 8)).astype(np.float32) * 0.02
    uses[::2, 0] += gap
    return uses


def test_one_word_with_two_clear_uses_is_two_senses() -> None:
    vectors, uses = unit(np.ones((20, 3))), two_clear_uses(20, 0.5)

    same = group(vectors, (20,), token=np.zeros(20))

    assert set(same.cut(np.ones(20))) == {0}
    split = same.cut(np.ones(20), uses=uses)
    assert len(set(split[::2])) == len(set(split[1::2])) == 1
    assert split[0] != split[1]
    assert set(group(vectors, (20,)).cut(np.ones(20), uses=uses)) == {
        0
    }  # twenty words are no homograph


def test_a_word_with_and_without_a_capital_is_looked_into_as_one() -> None:
    token = np.repeat([0, 1], 12)
    uses = two_clear_uses(24, 0.5)
    capitals = uses + token[:, None].astype(np.float32)

    both = group(unit(np.ones((24, 3))), (24,), token=token)

    split = both.cut(np.ones(24), uses=capitals)
    assert len(set(split[::2])) == len(set(split[1::2])) == 1
    assert split[0] != split[1]
    assert set(both.cut(np.ones(24), uses=capitals - uses)) == {
        0
    }  # the tokens differ, and nothing else


def test_two_uses_are_those_of_plain_two_means_from_the_first_axis() -> None:
    rng = np.random.default_rng(10)
    vectors, kind = rng.normal(size=(30, 8)).astype(np.float32), rng.integers(0, 2, 30)
    vectors[::3, 2] += 3

    second, apart = clustering.two_uses(vectors, kind)

    own = vectors.astype(np.float64)
    for k in (0, 1):
        own[kind == k] -= own[kind == k].mean(0)
    directions = own / np.linalg.norm(own, axis=1, keepdims=True)
    directions -= directions.mean(0)
    expected = directions @ np.linalg.svd(directions)[2][0] > 0
    for _ in range(20):
        centres = [directions[expected == use].mean(0) for use in (False, True)]
        expected = np.argmin([np.linalg.norm(directions - c, axis=1) for c in centres], axis=0) == 1
    gap = own[expected].mean(0) - own[~expected].mean(0)
    assert second.tolist() in (expected.tolist(), (~expected).tolist())  # an axis has no direction
    assert apart == pytest.approx(expected.mean() * (1 - expected.mean()) * (gap @ gap))


def test_one_word_with_one_use_stays_one_sense() -> None:
    uses = np.random.default_rng(7).normal(size=(40, 16)).astype(np.float32) * 0.05
    same = group(unit(np.ones((40, 3))), (40,), token=np.zeros(40))

    sense, doubt = same.cut_in_doubt(np.ones(40), uses=uses)

    assert set(sense) == {0}
    assert not doubt.any()


def test_uses_that_are_nearly_far_enough_apart_leave_a_doubt() -> None:
    same = group(unit(np.ones((20, 3))), (20,), token=np.zeros(20))
    between = (
        DOUBT * SPLIT + 0.4 * (1 - DOUBT) * SPLIT
    )  # a quarter of the squared gap, for two equal halves
    uses = np.zeros((20, 2), np.float32)
    uses[1::2, 0] = 2 * np.sqrt(between)

    sense, doubt = same.cut_in_doubt(np.ones(20), uses=uses)

    assert set(sense) == {0}
    assert sorted(set(doubt.round(3))) == [0.0, 0.4]
    assert (doubt > 0).sum() == 10
    assert len(set(doubt[::2])) == 1


def senses_of(grouped: Grouped, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Sense and mass of every context."""
    mass = np.random.default_rng(2).random(len(grouped.left)) + 0.1
    return grouped.cut(mass, shift), mass


def test_senses_are_described_by_their_own_distances(grouped: Grouped) -> None:
    sense, mass = senses_of(grouped)
    n = len(sense)
    share, (size, medoid) = np.zeros(n), np.zeros((2, n), np.int32)
    cohesion, separation = np.zeros((2, n), np.float32)

    clustering.describe(
        grouped.offsets,
        grouped.spots,
        grouped.distances,
        mass,
        sense,
        share,
        size,
        cohesion,
        separation,
        medoid,
    )

    own, distances, first = grouped.own(4, sense), grouped.matrix(4), grouped.offsets[4]
    assert own.max() >= 1
    for s in range(own.max() + 1):
        held = np.flatnonzero(own == s)
        inside = distances[np.ix_(held, held)]
        gaps = [
            distances[np.ix_(held, np.flatnonzero(own == o))].mean()
            for o in range(own.max() + 1)
            if o != s
        ]
        assert size[first + s] == len(held)
        assert share[first + s] == pytest.approx(
            grouped.own(4, mass)[held].sum() / grouped.own(4, mass)[own >= 0].sum()
        )
        assert cohesion[first + s] == pytest.approx(
            inside.sum() / (len(held) * (len(held) - 1)), abs=1e-6
        )
        assert separation[first + s] == pytest.approx(min(gaps), abs=1e-6)
        assert medoid[first + s] == held[inside.sum(1).argmin()]


def test_scores_follow_from_the_shares(grouped: Grouped) -> None:
    sense, mass = senses_of(grouped)
    seeds = np.arange(len(SIZES), dtype=np.uint64)
    covered, score, low, high, effective, similar = np.zeros((6, len(SIZES)))

    clustering.score_neurons(
        grouped.offsets, grouped.spots, grouped.distances, mass, sense, np.zeros(len(sense)),
        seeds, 500,
        covered, score, low, high, effective, similar,
    )  # fmt: skip

    own, weight, distances = grouped.own(4, sense), grouped.own(4, mass), grouped.matrix(4)
    shares = (
        np.array([weight[own == s].sum() for s in range(own.max() + 1)]) / weight[own >= 0].sum()
    )
    pairs = np.outer(weight, weight)[np.triu_indices(40, 1)]
    assert covered[4] == pytest.approx(weight[own >= 0].sum() / weight.sum())
    assert score[4] == pytest.approx(1 - (shares**2).sum())
    assert effective[4] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert similar[4] == pytest.approx(
        (pairs * (1 - distances[np.triu_indices(40, 1)])).sum() / pairs.sum()
    )
    assert low[4] < score[4] + 1e-9
    assert low[4] < high[4]
    assert np.isnan([score[0], covered[0]]).all()


def test_the_score_grows_with_doubt_to_that_of_two_senses() -> None:
    one, mass = group(unit(np.ones((24, 3))), (24,)), np.random.default_rng(8).random(24) + 0.1
    second = np.arange(24) % 3 == 0

    def scored(sense: np.ndarray, doubt: float) -> np.ndarray:
        found = np.zeros((6, 1))
        arguments = mass, sense.astype(np.int32), doubt * second, np.zeros(1, np.uint64), 100
        clustering.score_neurons(one.offsets, one.spots, one.distances, *arguments, *found)
        return found[1:5, 0]  # score, low, high, effective

    together, split = scored(np.zeros(24), 0.0), scored(second, 0.0)
    half, whole = scored(np.zeros(24), 0.5), scored(np.zeros(24), 1.0)
    assert together.tolist() == [0, 0, 0, 1]
    assert whole == pytest.approx(split)
    assert half[:3] == pytest.approx(split[:3] / 2)
    assert half[3] == pytest.approx(np.sqrt(split[3]))


def test_the_bootstrap_is_the_same_for_the_same_seed_and_other_for_another(
    grouped: Grouped,
) -> None:
    sense, mass = senses_of(grouped)

    def interval(seed: int) -> tuple[float, float]:
        found = np.zeros((6, len(SIZES)))
        seeds = np.full(len(SIZES), seed, np.uint64)
        arguments = mass, sense, np.zeros(len(sense)), seeds, 50
        clustering.score_neurons(
            grouped.offsets, grouped.spots, grouped.distances, *arguments, *found
        )
        return found[2][4], found[3][4]

    assert interval(1) == interval(1)
    assert interval(1) != interval(2)


def test_average_precision_is_the_mean_precision_at_each_firing_token() -> None:
    similarity = np.array([[0.9, 0.8, 0.7, 0.6, 0.5], [0.5, 0.5, 0.1, 0.0, 0.9]], np.float32)
    fires = np.array([[1, 0, 1, 0, 0], [0, 1, 0, 0, -1]], np.int8)
    found = np.zeros(2)

    clustering.average_precision(similarity, fires, np.array([0, 1]), found)

    assert found.tolist() == pytest.approx([(1 / 1 + 2 / 3) / 2, 1 / 2])


def test_average_precision_counts_ties_together() -> None:
    rng = np.random.default_rng(9)
    similarity = rng.integers(0, 30, (20, 400)).astype(np.float32) / 30
    fires = rng.choice([-1, 0, 1], (5, 400), p=[0.1, 0.6, 0.3]).astype(np.int8)
    neuron, found = np.arange(20) % 5, np.zeros(20)

    clustering.average_precision(similarity, fires, neuron, found)

    for s, values in enumerate(similarity):
        own = fires[neuron[s]]
        hits = values[own == 1]
        shares = [(hits >= hit).sum() / (values[own >= 0] >= hit).sum() for hit in hits]
        assert found[s] == pytest.approx(np.mean(shares))


def test_average_precision_of_a_neuron_that_never_fires_is_unknown() -> None:
    found = np.zeros(1)

    clustering.average_precision(
        np.ones((1, 3), np.float32), np.zeros((1, 3), np.int8), np.array([0]), found
    )

    assert np.isnan(found[0])


def test_centres_add_up_what_each_neuron_sees() -> None:
    rng = np.random.default_rng(3)
    raw, weights = rng.normal(size=(4, 5)).astype(np.float32), rng.random((2, 5)).astype(np.float32)
    centres = np.zeros((2, 5), np.float32)

    clustering.add_centres(
        raw, np.arange(4), np.array([0, 2, 4]), weights, np.array([0, 0, NONE, 1]), centres
    )

    assert np.allclose(centres[0], unit(raw[:2] * np.sqrt(weights[0])).sum(0), atol=1e-6)
    assert np.allclose(centres[1], unit(raw[3:] * np.sqrt(weights[1]))[0], atol=1e-6)
