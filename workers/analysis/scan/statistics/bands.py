"""Bands of activation from which contexts are sampled.

Their edges are fixed before the scan and do not move.

`interval`: bands of equal width between 0 and the largest peak seen in the calibration windows
(sae_vis, SAEDashboard). `quantile`: bands that held equally many of the calibration windows'
positive peaks (delphi). Band b holds peaks above edge b and up to edge b + 1; the first edge is 0,
the last band has no upper end.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from polyseme.contract.records.request import Sampling


def inner_edges(peaks: np.ndarray, bands: int, sampling: Sampling) -> np.ndarray:
    """The edges between the bands, (N, bands - 1) float32 ascending; infinite where no calibration
    peak is positive and finite.

    peaks: (W, N) float32, the peak of each neuron in each calibration window.
    """
    shares = np.arange(1, bands) / bands
    positive = np.where((peaks > 0) & np.isfinite(peaks), peaks, np.nan)
    known = ~np.isnan(positive).all(0)  # (N,)
    edges = np.full((peaks.shape[1], bands - 1), np.inf, np.float32)
    if sampling == "interval":
        edges[known] = np.nanmax(positive[:, known], axis=0)[:, None] * shares
    elif known.any():
        edges[known] = np.nanquantile(positive[:, known], shares, axis=0).T
    return edges


def band_of(peaks: Tensor, edges: Tensor) -> Tensor:
    """The band of each peak, int64; -1 for peaks that are not positive. peaks: (B, N), edges: (N,
    bands - 1).
    """
    bands = (peaks[:, :, None] > edges).sum(2)
    return torch.where(peaks > 0, bands, -1)
