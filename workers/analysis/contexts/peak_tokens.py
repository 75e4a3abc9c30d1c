"""Which tokens stand at a neuron's peaks, and how often; and what the documents say there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

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
    use = _is_used(table)
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


def list_peak_texts(
    table: ContextTable,
    place: np.ndarray,
    texts: pa.Array,
    vocabulary: Sequence[str],
    neurons: int,
) -> list[list[str]]:
    """By neuron, over the same contexts: the texts at the peaks that are not what the token reads
    as, commonest first. Without the white space around.

    place: (C,) which of the different places each context peaks at; texts: (U,) at these.
    """
    counts: list[Counter[str]] = [Counter() for _ in range(neurons)]
    use = np.flatnonzero(_is_used(table))
    own, within = np.unique(place[use], return_inverse=True)
    first = use[np.unique(place[use], return_index=True)[1]]
    stripped = [text.strip() for text in texts.take(pa.array(own)).to_pylist()]
    tokens = [vocabulary[token].strip() for token in table.peak_token[first].tolist()]
    differs = np.array([bool(a) and a != b for a, b in zip(stripped, tokens, strict=True)], bool)
    counted = differs[within]
    pairs = zip(table.neuron[use][counted].tolist(), within[counted].tolist(), strict=True)
    for neuron, which in pairs:
        counts[neuron][stripped[which]] += 1
    return [[text for text, _ in found.most_common()] for found in counts]


def _is_used(table: ContextTable) -> np.ndarray:
    used: np.ndarray = (table.tail == "positive") & (table.activation > 0)
    return used
