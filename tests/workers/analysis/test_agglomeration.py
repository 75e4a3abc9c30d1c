"""The compiled kernels against plain programs in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from workers.analysis import agglomeration
from workers.analysis.agglomeration import NONE

SIZES = (0, 1, 2, 5, 40, 23)


@dataclass
class Grouped:
    offsets: np.ndarray
    spots: np.ndarray
    distances: np.ndarray
    left: np.ndarray
    right: np.ndarray
    height: np.ndarray

    def matrix(self, neuron: int) -> np.ndarray:
        n = self.offsets[neuron + 1] - self.offsets[neuron]
        return self.distances[self.spots[neuron] : self.spots[neuron] + n * n].reshape(n, n).astype(np.float64)

    def own(self, neuron: int, column: np.ndarray) -> np.ndarray:
        return column[self.offsets[neuron] : self.offsets[neuron + 1]]


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def group(vectors: np.ndarray, sizes: tuple[int, ...] = SIZES, weights: np.ndarray | None = None) -> Grouped:
    """Contexts in the order of the vectors."""
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    spots = np.concatenate([[0], np.cumsum(np.square(sizes))])
    n = offsets[-1]
    found = Grouped(
        offsets, spots, np.zeros(spots[-1], np.float32), *np.zeros((2, n), np.int16), np.zeros(n, np.float32)
    )
    given = np.zeros((0, 0), np.float32) if weights is None else weights
    agglomeration.agglomerate(
        vectors, np.arange(n), offsets, given, found.left, found.right, found.height, found.distances, spots
    )
    return found


def link_slowly(distances: np.ndarray) -> list[tuple[int, int, float]]:
    """Average linkage from its definition: the mean over all pairs, anew for every two pieces."""
    pieces = {i: [i] for i in range(len(distances))}
    merges = []
    while len(pieces) > 1:
        ordered = sorted(pieces, key=lambda p: pieces[p][0])
        pairs = [(a, b) for i, a in enumerate(ordered) for b in ordered[i + 1 :]]
        a, b = min(pairs, key=lambda p: distances[np.ix_(pieces[p[0]], pieces[p[1]])].mean())
        merges.append((a, b, distances[np.ix_(pieces[a], pieces[b])].mean()))
        pieces[len(distances) + len(merges) - 1] = sorted(pieces.pop(a) + pieces.pop(b))
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


@pytest.mark.parametrize("neuron", range(len(SIZES)))
def test_merges_are_those_of_average_linkage(grouped: Grouped, neuron: int) -> None:
    expected = link_slowly(grouped.matrix(neuron))

    left, right, height = (grouped.own(neuron, c)[:-1] for c in (grouped.left, grouped.right, grouped.height))

    assert [{a, b} for a, b in zip(left, right, strict=True)] == [{a, b} for a, b, _ in expected]
    assert np.allclose(height, [h for _, _, h in expected], atol=1e-6)


def test_equal_distances_merge_the_first_pair() -> None:
    found = group(unit(np.ones((4, 3))), (4,))

    assert list(zip(found.left[:3], found.right[:3], strict=True)) == [(0, 1), (4, 2), (5, 3)]


def test_large_groups_below_the_height_are_senses_by_mass() -> None:
    angles = np.array([0.0, 0.1, 0.2, 1.5, 1.6, 1.7, 3.0])
    found = group(unit(np.stack([np.cos(angles), np.sin(angles)], 1)), (7,))
    mass, sense = np.array([1.0, 1, 1, 2, 2, 2, 9]), np.zeros(7, np.int32)

    limits, least = np.array([0.1], np.float32), np.array([3])
    agglomeration.cut(found.offsets, found.left, found.right, found.height, limits, least, mass, sense)

    assert sense.tolist() == [1, 1, 1, 0, 0, 0, NONE]


def senses_of(grouped: Grouped, limit: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """Sense and mass of every context."""
    mass = np.random.default_rng(2).random(len(grouped.left)) + 0.1
    sense, neurons = np.zeros(len(mass), np.int32), len(grouped.offsets) - 1
    agglomeration.cut(
        grouped.offsets,
        grouped.left,
        grouped.right,
        grouped.height,
        np.full(neurons, limit, np.float32),
        np.full(neurons, 4),
        mass,
        sense,
    )
    return sense, mass


def test_senses_are_described_by_their_own_distances(grouped: Grouped) -> None:
    sense, mass = senses_of(grouped)
    n = len(sense)
    share, (size, medoid) = np.zeros(n), np.zeros((2, n), np.int32)
    cohesion, separation = np.zeros((2, n), np.float32)

    agglomeration.describe(
        grouped.offsets, grouped.spots, grouped.distances, mass, sense, share, size, cohesion, separation, medoid
    )

    own, distances, first = grouped.own(4, sense), grouped.matrix(4), grouped.offsets[4]
    assert own.max() >= 1
    for s in range(own.max() + 1):
        held = np.flatnonzero(own == s)
        inside = distances[np.ix_(held, held)]
        gaps = [distances[np.ix_(held, np.flatnonzero(own == o))].mean() for o in range(own.max() + 1) if o != s]
        assert size[first + s] == len(held)
        assert share[first + s] == pytest.approx(
            grouped.own(4, mass)[held].sum() / grouped.own(4, mass)[own >= 0].sum()
        )
        assert cohesion[first + s] == pytest.approx(inside.sum() / (len(held) * (len(held) - 1)), abs=1e-6)
        assert separation[first + s] == pytest.approx(min(gaps), abs=1e-6)
        assert medoid[first + s] == held[inside.sum(1).argmin()]


def test_scores_follow_from_the_shares(grouped: Grouped) -> None:
    sense, mass = senses_of(grouped)
    seeds = np.arange(len(SIZES), dtype=np.uint64)
    covered, score, low, high, effective, similar = np.zeros((6, len(SIZES)))

    agglomeration.score_neurons(
        grouped.offsets, grouped.spots, grouped.distances, mass, sense, seeds, 500,
        covered, score, low, high, effective, similar,
    )  # fmt: skip

    own, weight, distances = grouped.own(4, sense), grouped.own(4, mass), grouped.matrix(4)
    shares = np.array([weight[own == s].sum() for s in range(own.max() + 1)]) / weight[own >= 0].sum()
    pairs = np.outer(weight, weight)[np.triu_indices(40, 1)]
    assert covered[4] == pytest.approx(weight[own >= 0].sum() / weight.sum())
    assert score[4] == pytest.approx(1 - (shares**2).sum())
    assert effective[4] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert similar[4] == pytest.approx((pairs * (1 - distances[np.triu_indices(40, 1)])).sum() / pairs.sum())
    assert low[4] < score[4] + 1e-9
    assert low[4] < high[4]
    assert np.isnan([score[0], covered[0]]).all()


def test_the_bootstrap_is_the_same_for_the_same_seed_and_other_for_another(grouped: Grouped) -> None:
    sense, mass = senses_of(grouped)

    def interval(seed: int) -> tuple[float, float]:
        found = np.zeros((6, len(SIZES)))
        seeds = np.full(len(SIZES), seed, np.uint64)
        agglomeration.score_neurons(grouped.offsets, grouped.spots, grouped.distances, mass, sense, seeds, 50, *found)
        return found[2][4], found[3][4]

    assert interval(1) == interval(1)
    assert interval(1) != interval(2)


def test_average_precision_is_the_mean_precision_at_each_firing_token() -> None:
    similarity = np.array([[0.9, 0.8, 0.7, 0.6, 0.5], [0.5, 0.5, 0.1, 0.0, 0.9]], np.float32)
    fires = np.array([[1, 0, 1, 0, 0], [0, 1, 0, 0, -1]], np.int8)
    found = np.zeros(2)

    agglomeration.average_precision(similarity, fires, np.array([0, 1]), found)

    assert found.tolist() == pytest.approx([(1 / 1 + 2 / 3) / 2, 1 / 2])


def test_average_precision_of_a_neuron_that_never_fires_is_unknown() -> None:
    found = np.zeros(1)

    agglomeration.average_precision(np.ones((1, 3), np.float32), np.zeros((1, 3), np.int8), np.array([0]), found)

    assert np.isnan(found[0])


def test_centres_add_up_what_each_neuron_sees() -> None:
    rng = np.random.default_rng(3)
    raw, weights = rng.normal(size=(4, 5)).astype(np.float32), rng.random((2, 5)).astype(np.float32)
    centres = np.zeros((2, 5), np.float32)

    agglomeration.add_centres(raw, np.arange(4), np.array([0, 2, 4]), weights, np.array([0, 0, NONE, 1]), centres)

    assert np.allclose(centres[0], unit(raw[:2] * np.sqrt(weights[0])).sum(0), atol=1e-6)
    assert np.allclose(centres[1], unit(raw[3:] * np.sqrt(weights[1]))[0], atol=1e-6)
