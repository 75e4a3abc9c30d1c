"""Which tokens stand at a neuron's peaks, and how often."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyseme.workers.analysis.contexts.choose import ContextTable


@dataclass(frozen=True, eq=False)
class PeakTokens:
    """By neuron, a neuron's tokens commonest first (then larger maximum, then smaller id)."""

    offsets: np.ndarray  # (N + 1,) into the columns below
    token: np.ndarray  # int32
    count: np.ndarray  # int32: contexts whose peak it is
    mean: np.ndarray  # float32: of the peaks' activations
    max: np.ndarray  # float32


def count_peak_tokens(table: ContextTable, neurons: int) -> PeakTokens:
    """Over the contexts of the positive tail whose activation is positive."""
    use = (table.tail == "positive") & (table.activation > 0)
    neuron, token, activation = (
        table.neuron[use],
        table.peak_token[use],
        table.activation[use].astype(np.float64),
    )
    pairs, pair, count = np.unique(
        neuron * (1 << 32) + token, return_inverse=True, return_counts=True
    )
    total = np.bincount(pair, weights=activation, minlength=len(pairs))
    most = np.zeros(len(pairs))
    np.maximum.at(most, pair, activation)
    of, token = pairs >> 32, pairs & 0xFFFF_FFFF
    order = np.lexsort((token, -most, -count, of))
    return PeakTokens(
        offsets=np.searchsorted(of[order], np.arange(neurons + 1)),
        token=token[order].astype(np.int32),
        count=count[order].astype(np.int32),
        mean=(total / count)[order].astype(np.float32),
        max=most[order].astype(np.float32),
    )
