"""A histogram of every neuron's activations, negative ones included, in the fixed bins of
`polyseme.contract.files.results`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from polyseme.contract.files.results import (
    BINS,
    LOWEST_OCTAVE,
    MAGNITUDES,
    QUANTILES,
    ZERO_BIN,
    histogram_edges,
)

# A float32 without its sign, shifted right by this, is its octave and the quarter of the octave.
SHIFT = 23 - 2
FIRST = (127 + LOWEST_OCTAVE) << 2


def bin_of(activations: Tensor) -> Tensor:
    """The bin of each float32, int32.

    Smaller and larger magnitudes than the bins cover go to the outer ones.
    """
    bits = activations.view(torch.int32)
    magnitude = (((bits & 0x7FFF_FFFF) >> SHIFT) - FIRST).clamp_(0, MAGNITUDES - 1)
    sign = (activations > 0).to(torch.int32) - (activations < 0).to(torch.int32)
    return (magnitude + 1) * sign + ZERO_BIN


def _bin_table() -> np.ndarray:
    """The bin by the upper 11 bits of a float32: (2048,) uint16.

    Only zero and denormal numbers begin with 0 bits.
    """
    lowest = (np.arange(2048, dtype=np.uint32) << SHIFT).view(np.float32)
    # Small, as it shares the fastest cache with the counts; without a sign that an index would be
    # checked for.
    return bin_of(torch.from_numpy(lowest)).numpy().astype(np.uint16)


BIN_TABLE = _bin_table()


class Histogram:
    def __init__(self, neurons: int, device: torch.device | str = "cpu") -> None:
        # A shard has far fewer tokens than int32 can count. What is merged is counted in int64.
        self.counts = torch.zeros(neurons, BINS, dtype=torch.int32, device=device)
        self._offsets = torch.arange(neurons, dtype=torch.int32, device=device) * BINS

    def update(self, activations: Tensor) -> None:
        """activations: (T, N) float32, the counted tokens of a block."""
        places = bin_of(activations).add_(self._offsets).view(-1)
        self.counts += torch.bincount(places, minlength=self.counts.numel()).view_as(self.counts)

    def array(self) -> np.ndarray:
        """The counts for a file: (N, BINS) uint16 where that can hold them, as it can those of a
        CPU's shards.
        """
        counts: np.ndarray = self.counts.cpu().numpy()
        return (
            counts.astype(np.uint16) if counts.max(initial=0) <= np.iinfo(np.uint16).max else counts
        )

    def merge(self, counts: np.ndarray) -> None:
        self.counts = self.counts.to(torch.int64)
        self.counts += torch.from_numpy(counts.astype(np.int64))


_OPEN = (0, ZERO_BIN - 1, ZERO_BIN + 1, BINS - 1)  # beyond all other bins, or nearest to zero


def density(counts: np.ndarray) -> np.ndarray:
    """The share of tokens with activation > 0. counts: (N, BINS); returns (N,) in 0..1."""
    return counts[:, ZERO_BIN + 1 :].sum(1) / np.maximum(counts.sum(1), 1)


def quantiles(counts: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The quantiles at QUANTILES, by linear interpolation in a bin: right to within it.

    Returns (N, Q) float64.

    counts: (N, BINS); low, high: (N,) the exact extremes, that nothing may lie beyond, and at which
    open bins end.
    """
    edges = np.array(histogram_edges())
    cumulative = np.cumsum(counts, axis=1)
    total = cumulative[:, -1]
    marks = np.empty((len(counts), len(QUANTILES)))
    for i, q in enumerate(QUANTILES):
        wanted = q * total
        bins = (cumulative < wanted[:, None]).sum(1).clip(max=BINS - 1)
        inside = np.take_along_axis(counts, bins[:, None], 1)[:, 0]
        below = np.take_along_axis(cumulative, bins[:, None], 1)[:, 0] - inside
        share = (wanted - below) / np.maximum(inside, 1)
        first, end = edges[bins], edges[bins + 1]
        is_open = np.isin(bins, _OPEN)
        first = np.where(is_open, np.where(bins == 0, low, np.maximum(first, low)), first)
        end = np.where(is_open, np.where(bins == BINS - 1, high, np.minimum(end, high)), end)
        marks[:, i] = first + share * (end - first)
    return marks.clip(low[:, None], high[:, None])
