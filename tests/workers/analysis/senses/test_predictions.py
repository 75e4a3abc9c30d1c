from __future__ import annotations

import numpy as np
import pytest

from polyseme.workers.analysis.senses.predictions import add_centres, average_precision


def test_average_precision_is_the_mean_precision_at_each_firing_token() -> None:
    similarity = np.array([[0.9, 0.8, 0.7, 0.6, 0.5], [0.5, 0.5, 0.1, 0.0, 0.9]], np.float32)
    fires = np.array([[1, 0, 1, 0, 0], [0, 1, 0, 0, -1]], np.int8)
    found = np.zeros(2)

    average_precision(similarity, fires, np.array([0, 1]), found)

    assert found.tolist() == pytest.approx([(1 / 1 + 2 / 3) / 2, 1 / 2])


def test_average_precision_counts_ties_together() -> None:
    rng = np.random.default_rng(9)
    similarity = rng.integers(0, 30, (20, 400)).astype(np.float32) / 30
    fires = rng.choice([-1, 0, 1], (5, 400), p=[0.1, 0.6, 0.3]).astype(np.int8)
    neuron, found = np.arange(20) % 5, np.zeros(20)

    average_precision(similarity, fires, neuron, found)

    for s, values in enumerate(similarity):
        own = fires[neuron[s]]
        hits = values[own == 1]
        shares = [(hits >= hit).sum() / (values[own >= 0] >= hit).sum() for hit in hits]
        assert found[s] == pytest.approx(np.mean(shares))


def test_average_precision_of_a_neuron_that_never_fires_is_unknown() -> None:
    found = np.zeros(1)

    average_precision(np.ones((1, 3), np.float32), np.zeros((1, 3), np.int8), np.array([0]), found)

    assert np.isnan(found[0])


def test_centres_add_up_the_vectors_of_each_sense() -> None:
    vectors = np.random.default_rng(3).normal(size=(4, 5)).astype(np.float32)
    place, centres = np.array([3, 2, 1, 0, 3]), np.zeros((2, 5), np.float32)

    add_centres(vectors, place, np.array([0, 2, 5]), np.array([0, 0, -1, 1, 1]), centres)

    assert centres[0] == pytest.approx(vectors[3] + vectors[2])
    assert centres[1] == pytest.approx(vectors[0] + vectors[3])
