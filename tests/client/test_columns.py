"""Every column of a result is in the client's records, and may be None where the column may be
null.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, get_args, get_type_hints

import pyarrow as pa
import pytest

from polyseme.contract.files import columns, entries
from polyseme.contract.files.column import Column
from polyseme.reports import (
    Band,
    Context,
    ControlRow,
    Evidence,
    Logit,
    NeuronRow,
    PeakToken,
    Report,
    Scores,
    Sense,
    SenseToken,
    Stats,
)

_AS_TEXT = ("token", "tokens")  # rows of the vocabulary in the files, texts in an answer
_IN_REPORT = ("near_duplicates", "bands", "peak_tokens", "contexts", "evidence", "senses")
# char_span, peak_span and spans
_PLACES = ("char_start", "char_end", "peak_start", "peak_end", "token_starts", "token_ends")
_ENDS = ("polysemanticity", "polysemanticity_low", "polysemanticity_high")  # score and interval


def python_type(kind: pa.DataType) -> type:
    if pa.types.is_floating(kind):
        return float
    if pa.types.is_boolean(kind):
        return bool
    return int if pa.types.is_integer(kind) else str


def check_field(record: type[Any], column: Column, *, may_be_none: bool) -> None:
    hint = get_type_hints(record)[column.name]
    allowed = set(get_args(hint)) or {hint}
    if column.name in _AS_TEXT or column.parts:
        return
    if pa.types.is_list(column.type):
        assert hint == tuple[python_type(column.type.value_type), ...], column.name
        return
    none = {type(None)} if may_be_none else set()
    assert allowed == {python_type(column.type)} | none, f"{record.__name__}.{column.name}"


@pytest.mark.parametrize(
    "column", [c for c in columns.SCALARS if c.is_listed], ids=lambda c: c.name
)
def test_a_row_has_every_listed_column_and_none_for_what_was_not_asked_for(column: Column) -> None:
    check_field(NeuronRow, column, may_be_none=True)


@pytest.mark.parametrize("column", columns.GHOST_SCALARS, ids=lambda c: c.name)
def test_so_has_a_row_of_a_control_unit(column: Column) -> None:
    check_field(ControlRow, column, may_be_none=True)


@pytest.mark.parametrize(
    ("record", "declared", "elsewhere"),
    [
        (Report, (*columns.PLACE, columns.SCORES[0]), ()),
        (Report, [c for c in columns.REPORTS if c.name in _IN_REPORT], ()),
        (Scores, columns.SCORES[1:], _ENDS),
        (Stats, columns.STATS, ()),
        (PeakToken, entries.PEAK_TOKEN, ()),
        (Band, entries.BAND, ()),
        (Context, entries.CONTEXT, _PLACES),
        (Evidence, entries.EVIDENCE_ENTRY, _PLACES),
        (Logit, entries.LOGIT, ()),
        (Sense, entries.SENSE, ("activation_min", "activation_median", "activation_max")),
        (SenseToken, entries.SENSE_TOKEN, ()),
    ],
)
def test_a_field_admits_none_exactly_where_its_column_may_be_null(
    record: type[Any], declared: Collection[Column], elsewhere: Collection[str]
) -> None:
    for column in declared:
        if column.name not in elsewhere:
            check_field(record, column, may_be_none=column.null is not None)
