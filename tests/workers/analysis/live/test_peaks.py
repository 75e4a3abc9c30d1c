"""Peaks, nearest senses and crossings: by hand, and against plain means over pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from polyseme.workers.analysis.live.peaks import (
    Crossing,
    KnownSenses,
    Peak,
    find_crossings,
    find_peaks,
    place_peaks,
)
from polyseme.workers.analysis.senses.background import _LEVELS, Scale, to_unit

# A quantile is a quarter of the distance, so that it can be told by hand: alpha 0.05 is a distance
# of 0.2.
SCALE = replace(Scale.of(np.eye(3, dtype=np.float32)), distances=4 * _LEVELS)


def unit(*degrees: float) -> np.ndarray:
    """Unit vectors in the plane, (n, 2) float32."""
    angle = np.radians(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def peaks_of(
    strength: list[float],
    *,
    counted: list[bool] | None = None,
    offsets: tuple[int, ...] = (),
    threshold: float = 1.0,
) -> list[int]:
    n = len(strength)
    found = find_peaks(
        np.array(strength, np.float32)[:, None],
        np.ones(n, bool) if counted is None else np.array(counted),
        np.array([0, *offsets, n]),
        np.array([threshold]),
    )
    return np.flatnonzero(found[:, 0]).tolist()


def test_a_peak_is_above_its_neighbours_and_the_threshold() -> None:
    assert peaks_of([0.5, 2, 3, 2.5, 0, 0.9, 0, 1.5]) == [2, 7]


def test_of_two_equal_neighbours_the_first_is_the_peak() -> None:
    assert peaks_of([0, 2, 2, 0]) == [1]


def test_windows_do_not_see_each_other() -> None:
    assert peaks_of([0, 2, 3, 0]) == [2]
    assert peaks_of([0, 2, 3, 0], offsets=(2,)) == [1, 2]


def test_a_token_that_does_not_count_is_no_peak_and_hides_none() -> None:
    assert peaks_of([9, 2, 0], counted=[False, True, True]) == [1]


def test_a_neuron_without_a_threshold_has_no_peak() -> None:
    assert peaks_of([0, 5, 0], threshold=np.inf) == []


def test_a_distance_is_the_mean_over_the_contexts_of_a_sense() -> None:
    rng = np.random.default_rng(0)
    vectors = to_unit(rng.normal(size=(30, 8)).astype(np.float32))
    sense = rng.integers(-1, 3, 30)
    peaks = to_unit(rng.normal(size=(7, 8)).astype(np.float32))
    scale = Scale.of(to_unit(rng.normal(size=(200, 8)).astype(np.float32)))
    known = KnownSenses.of(vectors, sense, 0.05, scale)

    plain = np.zeros((7, 3))
    for q, peak in enumerate(peaks.astype(np.float64)):
        for s in range(3):
            plain[q, s] = np.mean([1 - peak @ v for v in vectors[sense == s].astype(np.float64)])
    between = np.mean(
        [
            1 - a @ b
            for a in vectors[sense == 0].astype(np.float64)
            for b in vectors[sense == 2].astype(np.float64)
        ]
    )

    assert known.distances(peaks) == pytest.approx(scale.read(plain), abs=1e-6)
    assert known.separation(0, 2) == pytest.approx(float(scale.read(between)), abs=1e-6)


def test_a_sense_reaches_as_far_as_alpha_or_its_farthest_context() -> None:
    tight, wide = unit(0, 0, 0), unit(90, 90, 180)
    known = KnownSenses.of(np.concatenate([tight, wide]), np.array([0, 0, 0, 1, 1, 1]), 0.05, SCALE)

    # Of the wide one's contexts the last is at cosine 0 to both others.
    assert known.reach == pytest.approx([0.05, float(SCALE.read(np.array(1.0)))], abs=1e-6)


def test_a_peak_has_the_nearest_sense_within_its_reach() -> None:
    known = KnownSenses.of(unit(0, 0, 100, 100), np.array([0, 0, 2, 2]), 0.05, SCALE)

    sense, distance = known.nearest(unit(5, 95, 50))

    assert sense.tolist() == [0, 2, -1]
    assert distance[0] == pytest.approx(float(SCALE.read(1 - np.cos(np.radians(5)))), abs=1e-6)


def test_peaks_of_a_neuron_without_senses_have_none() -> None:
    nothing = KnownSenses.of(unit(0, 90), np.array([-1, -1]), 0.05, SCALE)

    for known in (nothing, None):
        [peak] = place_peaks(np.array([4]), "positive", np.array([2.5], np.float32), unit(0), known)
        assert peak == Peak(4, "positive", 2.5, None, None)
        assert find_crossings([peak], "positive", known) == []


def test_two_senses_that_both_fire_cross_at_their_strongest_peaks() -> None:
    known = KnownSenses.of(unit(0, 0, 90, 90), np.array([0, 0, 1, 1]), 0.05, SCALE)
    peaks = [
        Peak(2, "positive", 1.0, 1, 0.0),
        Peak(5, "positive", 3.0, 0, 0.0),
        Peak(7, "positive", 2.0, 1, 0.0),
        Peak(9, "positive", 9.0, None, 0.5),
        Peak(11, "negative", -9.0, 1, 0.0),
    ]

    found = find_crossings(peaks, "positive", known)

    [crossing] = found
    assert crossing == Crossing("positive", (0, 1), (5, 7), crossing.separation)
    assert crossing.separation == pytest.approx(float(SCALE.read(np.array(1.0))), abs=1e-6)
    assert find_crossings(peaks, "negative", known) == []
