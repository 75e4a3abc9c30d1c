"""Band edges and membership, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from polyseme.contract.records.request import Sampling
from polyseme.workers.analysis.scan.statistics.bands import band_of, inner_edges


def test_interval_edges_cut_the_range_up_to_the_largest_peak_in_equal_widths() -> None:
    peaks = np.array([[1, 10], [5, -3], [2, 0]], np.float32)

    edges = inner_edges(peaks, 5, "interval")

    assert edges.dtype == np.float32
    np.testing.assert_allclose(edges, [[1, 2, 3, 4], [2, 4, 6, 8]], rtol=1e-6)


def test_quantile_edges_part_the_positive_peaks_in_equal_numbers() -> None:
    peaks = np.array([[4], [1], [-7], [3], [2], [5], [0]], np.float32)

    edges = inner_edges(peaks, 2, "quantile")

    np.testing.assert_allclose(edges, [[3]])
    assert band_of(torch.from_numpy(peaks), torch.from_numpy(edges))[:, 0].tolist() == [
        1,
        0,
        -1,
        0,
        0,
        1,
        -1,
    ]


@pytest.mark.parametrize("sampling", ["interval", "quantile"])
def test_a_neuron_without_a_positive_calibration_peak_has_one_band_for_all(
    sampling: Sampling,
) -> None:
    edges = inner_edges(np.array([[-1.0, 2.0], [0.0, 4.0]], np.float32), 3, sampling)

    assert np.isinf(edges[0]).all()
    assert np.isfinite(edges[1]).all()
    assert band_of(torch.tensor([[7.0, 100.0]]), torch.from_numpy(edges)).tolist() == [[0, 2]]


def test_a_band_holds_its_upper_edge_and_not_its_lower() -> None:
    peaks = torch.tensor([[-1.0], [0.0], [1e-30], [1.0], [1.5], [2.0], [2.1]])

    bands = band_of(peaks, torch.tensor([[1.0, 2.0]]))

    assert bands[:, 0].tolist() == [-1, -1, 0, 0, 1, 1, 2]
