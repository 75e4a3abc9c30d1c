"""Peak tokens by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from polyseme.workers.analysis.contexts.choose import ContextTable
from polyseme.workers.analysis.contexts.peak_tokens import count_peak_tokens


def make_table(rows: list[tuple[int, str, int, float]]) -> ContextTable:
    """rows: (neuron, tail, peak token, activation)."""
    neuron, tail, token, activation = map(list, zip(*rows, strict=True))
    columns: dict[str, Any] = dict.fromkeys(
        ContextTable.__dataclass_fields__, np.zeros(len(rows), np.int32)
    )
    columns |= {
        "neuron": np.array(neuron, np.int64),
        "tail": np.array(tail),
        "peak_token": np.array(token, np.int32),
        "activation": np.array(activation, np.float32),
    }
    return ContextTable(**columns)


def test_tokens_are_counted_a_neuron_commonest_first() -> None:
    table = make_table(
        [
            (0, "positive", 7, 1.0),
            (0, "positive", 9, 2.0),
            (0, "positive", 7, 4.0),
            (2, "positive", 7, 0.5),
        ]
    )

    found = count_peak_tokens(table, 4)

    assert found.offsets.tolist() == [0, 2, 2, 3, 3]
    assert found.token.tolist() == [7, 9, 7]
    assert found.count.tolist() == [2, 1, 1]
    assert found.mean.tolist() == [2.5, 2.0, 0.5]
    assert found.max.tolist() == [4.0, 2.0, 0.5]


def test_of_tokens_equally_common_the_one_of_larger_maximum_then_of_smaller_id_is_first() -> None:
    table = make_table([(0, "positive", t, a) for t, a in ((5, 1.0), (3, 2.0), (8, 3.0), (4, 2.0))])

    assert count_peak_tokens(table, 1).token.tolist() == [8, 3, 4, 5]


def test_peaks_of_the_negative_tail_and_those_not_above_zero_do_not_count() -> None:
    table = make_table(
        [(0, "negative", 5, -3.0), (0, "positive", 5, 0.0), (0, "positive", 6, -1.0)]
    )

    found = count_peak_tokens(table, 1)

    assert found.offsets.tolist() == [0, 0]
    assert len(found.token) == 0
