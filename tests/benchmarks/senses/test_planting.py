from __future__ import annotations

import numpy as np
import pytest

from benchmarks.senses.planting import Inputs, Statistics, activate, fit_neurons, fit_row


def make_inputs(rng: np.random.Generator, families: int = 3, dim: int = 24) -> Inputs:
    """Tokens around one point, a family's ones moved along a direction of its own."""
    family = rng.integers(-4, families, 3000).clip(-1)
    moves = np.vstack([4 * np.eye(dim)[:families], np.zeros(dim)])
    vectors = rng.normal(size=(3000, dim)) + 3 * np.eye(dim)[-1] + moves[family]
    first = np.arange(3000) % 50 == 0
    vectors[first] = 20 * np.eye(dim)[-2]
    return Inputs(
        {0: vectors.astype(np.float16)}, first, np.where(first, -1, family), np.array([""] * 3000)
    )


def test_a_row_answers_its_families_alike_and_the_corpus_as_told() -> None:
    inputs = make_inputs(np.random.default_rng(0))
    statistics = Statistics.of(inputs.vectors[0], inputs.first, inputs.family, 3)

    row = fit_row(statistics, [0, 2], on=4.0, off=-4.0)

    assert statistics.families[[0, 2]] @ row == pytest.approx([4.0, 4.0], abs=1e-3)
    assert [statistics.mean @ row, statistics.first @ row] == pytest.approx([-4.0, -4.0], abs=1e-3)


def test_no_row_with_those_answers_moves_less_over_the_corpus() -> None:
    rng = np.random.default_rng(1)
    inputs = make_inputs(rng)
    statistics = Statistics.of(inputs.vectors[0], inputs.first, inputs.family, 3)
    row = fit_row(statistics, [1], on=1.0, off=0.0)
    points = np.vstack([statistics.families[1], statistics.mean, statistics.first])

    free = np.linalg.svd(points)[2][3:]  # changes that leave the answers as they are
    others = row + 0.1 * rng.normal(size=(20, len(free))) @ free

    moved = np.einsum("nd,de,ne->n", others, statistics.covariance, others)
    assert (moved > row @ statistics.covariance @ row).all()


def test_a_planted_neuron_fires_at_its_families_and_is_shut_elsewhere() -> None:
    inputs = make_inputs(np.random.default_rng(2))

    gates, ups = fit_neurons(inputs, 0, [[0, 1]])

    activation = activate(inputs.vectors[0], gates[0], ups[0])
    own = np.isin(inputs.family, [0, 1])
    assert np.median(activation[own]) > 10 * np.abs(np.median(activation[~own]))
    assert np.isin(np.argsort(-activation)[:100], np.flatnonzero(own)).mean() > 0.95
