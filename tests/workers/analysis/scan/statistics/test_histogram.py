"""The bins against a search in the edges of the contract, and what is read off the counts against
numpy.
"""

from __future__ import annotations

import numpy as np
import torch

from polyseme.contract.files.results import BINS, QUANTILES, ZERO_BIN, histogram_edges
from polyseme.workers.analysis.scan.statistics.histogram import (
    BIN_TABLE,
    Histogram,
    bin_of,
    density,
    quantiles,
)

EDGES = np.array(histogram_edges())


def search_bins(values: np.ndarray) -> np.ndarray:
    """A magnitude at an edge is in the bin farther from 0; beyond the outer edges it is in the
    outer bins.
    """
    magnitude = np.searchsorted(EDGES, np.abs(values).astype(np.float64), side="right") - 1
    magnitude = magnitude.clip(ZERO_BIN + 1, BINS - 1)
    return np.where(values == 0, ZERO_BIN, np.where(values > 0, magnitude, BINS - 1 - magnitude))


def many_magnitudes(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.choice([-1.0, 1.0], count) * 2.0 ** rng.uniform(-149, 127, count)
    special = [0.0, -0.0, 1e-45, -1e-45, 3e38, -3e38, 2.0**16, -(2.0**16), 2.0**-16]
    exact = EDGES.astype(np.float32)
    near = np.concatenate(
        [np.nextafter(exact, np.float32(np.inf)), np.nextafter(exact, np.float32(-np.inf))]
    )
    return np.concatenate([values.astype(np.float32), np.array(special, np.float32), exact, near])


def fill(values: np.ndarray) -> np.ndarray:
    return filled(values).counts.numpy()


def filled(values: np.ndarray) -> Histogram:
    histogram = Histogram(values.shape[1])
    histogram.update(torch.from_numpy(values))
    return histogram


def test_the_bin_is_the_one_between_whose_edges_a_value_lies() -> None:
    values = many_magnitudes(1, 50_000)

    found = bin_of(torch.from_numpy(values)).numpy()

    np.testing.assert_array_equal(found, search_bins(values))
    assert set(found) == set(range(BINS))


def test_the_table_gives_the_same_bins_but_for_denormal_numbers() -> None:
    values = many_magnitudes(2, 10_000)
    usual = values[(np.abs(values) >= np.finfo(np.float32).tiny) | (values == 0)]

    found = BIN_TABLE[usual.view(np.uint32) >> 21]

    np.testing.assert_array_equal(found, search_bins(usual))


def test_every_neuron_has_its_own_counts_and_parts_add_up() -> None:
    values = np.random.default_rng(3).normal(0, [0.01, 1, 100], (1000, 3)).astype(np.float32)
    merged = Histogram(3)

    merged.merge(filled(values[:100]).array())
    merged.merge(filled(values[100:]).array())

    for n in range(3):
        expected = np.bincount(search_bins(values[:, n]), minlength=BINS)
        np.testing.assert_array_equal(merged.counts[n].numpy(), expected)


def test_counts_take_two_bytes_in_a_file_as_long_as_they_can() -> None:
    most = filled(np.zeros((65_535, 1), np.float32)).array()
    more = filled(np.zeros((65_536, 1), np.float32)).array()
    merged = Histogram(1)

    merged.merge(most)
    merged.merge(more)

    assert (most.dtype, more.dtype) == (np.uint16, np.int32)
    assert merged.counts[0, ZERO_BIN] == 131_071


def test_quantiles_lie_in_the_bin_of_the_exact_ones() -> None:
    values = (np.random.default_rng(4).normal(0.3, 1, (5000, 8)) ** 3).astype(np.float32)
    values[:, 0] = np.maximum(values[:, 0], 0)

    found = quantiles(fill(values), values.min(0), values.max(0))

    for i, q in enumerate(QUANTILES):
        bins = search_bins(np.quantile(values, q, axis=0, method="inverted_cdf"))
        assert (found[:, i] >= EDGES[bins]).all()
        assert (found[:, i] <= EDGES[bins + 1]).all()
    assert (np.diff(found, axis=1) >= 0).all()


def test_quantiles_of_a_constant_are_the_constant() -> None:
    values = np.full((50, 2), [3.0, -1e9], np.float32)

    found = quantiles(fill(values), values.min(0), values.max(0))

    assert (found == values[0].astype(np.float64)[:, None]).all()


def test_density_is_the_share_above_zero() -> None:
    values = np.array([[1e-40, 0], [-1, -0.0], [2, -3], [0, -1e-40]], np.float32)

    assert density(fill(values)).tolist() == [0.5, 0]
    assert density(np.zeros((1, BINS), np.int64)).tolist() == [0]
