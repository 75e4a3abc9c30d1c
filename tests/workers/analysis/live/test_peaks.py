"""Peaks, nearest senses and crossings: by hand, and against plain means over pairs."""

from __future__ import annotations

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
from tests.workers.analysis.senses.made_up import to_material


def plane(*degrees: float) -> np.ndarray:
    """Unit vectors in a plane of eight dimensions, (n, 8)."""
    angle = np.radians(degrees)
    return np.stack([np.cos(angle), np.sin(angle), *np.zeros((6, len(degrees)))], axis=1)


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


def rows(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def test_how_near_a_sense_is_is_the_mean_chance_with_its_contexts() -> None:
    rng = np.random.default_rng(0)
    material = to_material(rng.normal(size=(37, 8)))
    contexts, peaks, sense = rng.permutation(30), np.arange(30, 37), rng.integers(-1, 3, 30)
    known = KnownSenses.of(material, contexts, sense, 0.0)

    number, most = known.nearest(peaks)

    chance = material.chances(np.arange(37), np.arange(37)).astype(np.float64)
    means = np.array([[chance[q, contexts[sense == s]].mean() for s in range(3)] for q in peaks])
    assert number.tolist() == means.argmax(1).tolist()
    assert most == pytest.approx(means.max(1), abs=1e-6)
    between = chance[np.ix_(contexts[sense == 0], contexts[sense == 2])].mean()
    assert known.between(0, 2) == pytest.approx(between, abs=1e-6)


def test_a_sense_reaches_as_far_as_same_at_or_its_farthest_context() -> None:
    material = to_material(plane(0, 0, 0, 90, 90, 180))
    known = KnownSenses.of(material, np.arange(6), np.array([0, 0, 0, 1, 1, 1]), 0.35)

    # Of the loose one's contexts the last is far from both others.
    far = material.chances(rows(3, 4), rows(5)).mean()
    assert far < 0.35
    assert known.reach == pytest.approx([0.35, far], abs=1e-6)


def test_a_sense_of_one_context_reaches_as_far_as_same_at() -> None:
    known = KnownSenses.of(to_material(plane(0, 90)), rows(0, 1), np.array([0, -1]), 0.35)

    assert known.reach.tolist() == [0.35]


def test_a_peak_has_the_nearest_sense_within_its_reach() -> None:
    material = to_material(plane(0, 0, 180, 180, 5, 175, 90))
    known = KnownSenses.of(material, np.arange(4), np.array([0, 0, 2, 2]), 0.5)

    sense, most = known.nearest(rows(4, 5, 6))

    assert sense.tolist() == [0, 2, -1]
    assert most == pytest.approx(material.chances(rows(0, 2, 0), rows(4, 5, 6)).diagonal())


def test_peaks_of_a_neuron_without_senses_have_none() -> None:
    nothing = KnownSenses.of(to_material(plane(0, 90)), rows(0, 1), np.array([-1, -1]), 0.35)

    for known in (nothing, None):
        [peak] = place_peaks(rows(4), "positive", np.array([2.5], np.float32), rows(0), known)
        assert peak == Peak(4, "positive", 2.5, None, None)
        assert find_crossings([peak], "positive", known) == []


def test_peaks_have_the_sense_that_their_row_in_the_material_is_nearest_to() -> None:
    material = to_material(plane(0, 0, 180, 180, 90))
    known = KnownSenses.of(material, np.arange(4), np.array([0, 0, 1, 1]), 0.5)
    strength = np.array([2.5, 1.5, 1.0], np.float32)

    found = place_peaks(rows(3, 8, 9), "positive", strength, rows(2, 1, 4), known)

    assert [(p.token, p.activation, p.sense) for p in found] == [
        (3, 2.5, 1),
        (8, 1.5, 0),
        (9, 1.0, None),
    ]
    assert all(p.same is not None for p in found)


def test_two_senses_that_both_fire_cross_at_their_strongest_peaks() -> None:
    material = to_material(plane(0, 0, 180, 180))
    known = KnownSenses.of(material, np.arange(4), np.array([0, 0, 1, 1]), 0.35)
    peaks = [
        Peak(2, "positive", 1.0, 1, 0.9),
        Peak(5, "positive", 3.0, 0, 0.9),
        Peak(7, "positive", 2.0, 1, 0.9),
        Peak(9, "positive", 9.0, None, 0.1),
        Peak(11, "negative", -9.0, 1, 0.9),
    ]

    found = find_crossings(peaks, "positive", known)

    [[between]] = material.chances(rows(0), rows(2)).tolist()
    assert found == [Crossing("positive", (0, 1), (5, 7), pytest.approx(between))]
    assert find_crossings(peaks, "negative", known) == []
