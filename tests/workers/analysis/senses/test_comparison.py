"""Units beside control units: selectivity, percentiles and what may be claimed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from polyseme.contract.files.results import BINS, ZERO_BIN, histogram_edges
from polyseme.workers.analysis.scan.statistics.histogram import Histogram
from polyseme.workers.analysis.scan.statistics.layer_statistics import LayerStatistics
from polyseme.workers.analysis.senses.comparison import (
    chance_of,
    compare_units,
    find_selectivity,
    measure_parts,
    selectivity_parts,
    share_below,
)

Array = NDArray[np.float64]


def statistics_of(activations: Array) -> LayerStatistics:
    """activations: (T, N)."""
    values = torch.from_numpy(activations.astype(np.float32))
    statistics = LayerStatistics(values.shape[1])
    statistics.moments.update(values)
    statistics.histogram.update(values)
    statistics.low, statistics.high = values.amin(0), values.amax(0)
    return statistics


def parts_plainly(x: Array) -> Array:
    """The three parts of the positive tail from the activations themselves, (T, N) to (N, 3)."""
    deviation = x - x.mean(0)
    fourth = (deviation**4).mean(0) / (deviation**2).mean(0) ** 2
    strength = np.sqrt((x**2).mean(0))
    rarity = (x > x.max(0) / 5).mean(0)
    parts: Array = np.log(np.stack([fourth, x.max(0) / strength, 1 / rarity], axis=1))
    return parts


@pytest.mark.parametrize("sign", [1, -1])
def test_the_parts_are_those_of_the_activations_themselves(sign: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40_000, 5)) ** 3 * rng.uniform(0.1, 50, 5)

    found = measure_parts(statistics_of(sign * x), "positive" if sign == 1 else "negative")

    # The bin of the threshold is taken to be filled evenly.
    assert found == pytest.approx(parts_plainly(x), rel=0.02, abs=0.01)


def test_a_bin_that_the_threshold_divides_is_divided_linearly() -> None:
    counts = np.zeros((1, BINS), np.int64)
    counts[0, ZERO_BIN] = 1000
    edges = np.array(histogram_edges())
    place = int(np.searchsorted(edges, 2.0, "right")) - 1  # 2 to 2.5
    counts[0, place], counts[0, place + 4] = 40, 10  # and 4 to 5
    largest = np.array([5 * 2.125])

    parts = selectivity_parts(counts, largest, np.array([1.0]), np.array([0.0]))

    assert np.exp(-parts[0, 2]) == pytest.approx((10 + 0.75 * 40) / 1050)


def test_a_unit_that_fires_nowhere_in_the_histogram_fires_on_half_a_token() -> None:
    counts = np.zeros((1, BINS), np.int64)
    counts[0, ZERO_BIN] = 100

    parts = selectivity_parts(counts, np.array([1.0]), np.array([1.0]), np.array([0.0]))

    assert np.exp(-parts[0, 2]) == pytest.approx(0.5 / 100)


@pytest.mark.parametrize("largest", [1e-7, 3e-5, 1.0, 7e4, 4e5])
def test_activations_beyond_the_bins_have_a_share_like_any(largest: float) -> None:
    x = np.array([[0.0, 0.0, 0.0, largest]]).T
    counts = histogram_of(x)

    parts = selectivity_parts(counts, np.array([largest]), np.array([1.0]), np.array([0.0]))

    assert 0.5 / 4 <= np.exp(-parts[0, 2]) <= 1 / 4


def histogram_of(x: Array) -> NDArray[np.int64]:
    histogram = Histogram(x.shape[1])
    histogram.update(torch.from_numpy(x.astype(np.float32)))
    return histogram.counts.numpy().astype(np.int64)


def test_a_unit_that_never_fires_or_is_not_finite_has_no_parts() -> None:
    x = np.stack([-np.arange(1.0, 9.0), np.arange(8.0), np.full(8, 2.0)], axis=1)
    statistics = statistics_of(x)
    statistics.nonfinite[1] = 1

    parts = measure_parts(statistics, "positive")

    assert np.isnan(parts[:2]).all()
    assert parts[2] == pytest.approx([0, 0, 0], abs=1e-6)  # a constant could not be less selective


def test_selectivity_is_in_deviations_above_the_median_control_unit() -> None:
    rng = np.random.default_rng(1)
    controls, parts = rng.normal(size=(201, 3)) * [1, 10, 100] + 5, rng.normal(size=(7, 3))
    controls[4, 1] = np.nan
    known = np.delete(controls, 4, axis=0)

    found = find_selectivity(parts, controls)

    median = np.median(known, axis=0)
    mad = np.median(np.abs(known - median), axis=0)
    assert found == pytest.approx(((parts - median) / (1.4826 * mad)).mean(1))
    assert np.isnan(find_selectivity(np.full((1, 3), np.nan), controls)).all()


def test_without_control_units_there_is_no_selectivity_and_no_percentile() -> None:
    nobody = np.zeros((0, 3))

    assert np.isnan(find_selectivity(np.ones((4, 3)), nobody)).all()
    assert np.isnan(find_selectivity(np.ones((4, 3)), np.full((2, 3), np.nan))).all()
    assert np.isnan(share_below(np.ones(4), nobody[:, 0])).all()
    assert chance_of(np.ones(4), nobody[:, 0]).tolist() == [1.0] * 4


def test_control_units_that_are_all_alike_are_told_apart_by_differences_themselves() -> None:
    found = find_selectivity(np.array([[2.0, 2, 2]]), np.ones((5, 3)))

    assert found.tolist() == [1.0]


def test_a_percentile_counts_half_of_those_alike() -> None:
    controls = np.array([1.0, 2, 2, 3, np.nan])

    found = share_below(np.array([0.0, 1, 2, 2.5, 9, np.nan]), controls)

    assert found[:5].tolist() == [0, 1 / 8, 0.5, 0.75, 1]
    assert np.isnan(found[5])


def test_the_chance_is_never_0_and_counts_those_alike() -> None:
    controls = np.arange(19.0)

    found = chance_of(np.array([100.0, 18, 17.5, -1, np.nan]), controls)

    assert found == pytest.approx([1 / 20, 2 / 20, 2 / 20, 1, 1])


def test_control_units_are_compared_with_the_other_half() -> None:
    values = np.array([5.0, 1, 10, 2, 20, 3, 30])  # three units, then controls 2, 20, 3, 30

    found = compare_units(share_below, values, 3)

    assert found[:3].tolist() == [0.5, 0, 0.5]
    # 2 and 3 against 20 and 30, and these against those
    assert found[3:].tolist() == [0, 1, 0, 1]


def test_one_control_unit_in_twenty_is_claimed_to_be_more() -> None:
    rng = np.random.default_rng(2)
    shares = []
    for _ in range(50):
        values = rng.standard_t(2, size=48 + 128)
        shares.append((compare_units(chance_of, values, 48) <= 0.05).mean())

    assert 0.03 < np.mean(shares) < 0.055
