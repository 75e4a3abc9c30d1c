from __future__ import annotations

import numpy as np

from polyseme.workers.analysis.contexts.choose import Candidates, ContextTable
from polyseme.workers.analysis.contexts.split import (
    stack_candidates,
    stack_tables,
    take_contexts,
)

SIZES = (3, 0, 2, 4, 0)  # contexts of each unit


def make_table(sizes: tuple[int, ...], seed: int) -> ContextTable:
    rng = np.random.default_rng(seed)
    count = sum(sizes)
    shown = rng.integers(1, 5, count)
    names = set(ContextTable.__dataclass_fields__) - {"neuron", "display_offsets"}
    columns = {name: rng.integers(0, 99, count) for name in sorted(names)}
    columns |= {name: rng.integers(0, 99, shown.sum()) for name in ("tokens", "activations")}
    offsets = np.concatenate([[0], np.cumsum(shown)])
    return ContextTable(
        neuron=np.repeat(np.arange(len(sizes)), sizes), display_offsets=offsets, **columns
    )


def assert_same(found: ContextTable, wanted: ContextTable) -> None:
    for name, column in vars(wanted).items():
        np.testing.assert_array_equal(vars(found)[name], column, err_msg=name)


def test_tables_that_were_put_together_are_taken_apart_again() -> None:
    first, second = make_table(SIZES, 0), make_table((2, 1), 1)

    joined = stack_tables([first, second], [len(SIZES), 2])
    offsets = np.concatenate([[0], np.cumsum([*SIZES, 2, 1])])

    assert joined.neuron.tolist() == np.repeat(np.arange(7), [*SIZES, 2, 1]).tolist()
    assert_same(take_contexts(joined, offsets, slice(0, 5)), first)
    assert_same(take_contexts(joined, offsets, slice(5, 7)), second)


def test_the_contexts_of_one_unit_have_their_own_shown_tokens() -> None:
    table = make_table(SIZES, 2)
    offsets = np.concatenate([[0], np.cumsum(SIZES)])

    own = take_contexts(table, offsets, slice(3, 4))

    first = table.display_offsets[5]
    assert own.neuron.tolist() == [0, 0, 0, 0]
    assert own.tokens.tolist() == table.tokens[first : table.display_offsets[9]].tolist()
    assert own.display_offsets[0] == 0


def test_candidates_of_several_scans_are_one_units_after_another() -> None:
    columns = set(Candidates.__dataclass_fields__) - {"band"}
    parts = [
        Candidates(band=np.array([-1, 0]), **{name: np.full((units, 2), units) for name in columns})
        for units in (3, 2)
    ]

    stacked = stack_candidates(parts)

    assert stacked.band.tolist() == [-1, 0]
    assert stacked.peak[:, 0].tolist() == [3, 3, 3, 2, 2]
