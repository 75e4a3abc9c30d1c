from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from polyseme.contract.files import columns, entries, results
from polyseme.contract.files.column import Column

MEASURES = Path(__file__).parents[3] / "docs" / "measures.md"


def parts_of(declared: tuple[Column, ...]) -> list[Column]:
    return [c for column in declared for c in (column, *parts_of(column.parts))]


def test_the_table_of_measures_is_the_declared_one() -> None:
    """`python -m polyseme.contract.files.columns` prints it."""
    rows = [line for line in MEASURES.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    table = list(columns.table_lines())

    assert rows[-len(table) :] == table


def test_the_files_have_the_declared_columns_in_their_order() -> None:
    assert results.SCALARS.names == [c.name for c in columns.SCALARS]
    assert results.REPORTS.names == [c.name for c in columns.REPORTS]
    senses = results.REPORTS.field("senses").type.value_type
    assert [senses.field(i).name for i in range(senses.num_fields)] == [
        c.name for c in entries.SENSE
    ]


def test_a_column_is_described_in_sentences_that_go_together() -> None:
    for column in parts_of((*columns.SCALARS, *columns.REPORTS)):
        assert column.words[0].isupper() or column.words[0].isdigit(), column.name
        assert column.words.endswith("."), column.name
        assert column.null is None or not column.null.endswith("."), column.name
        assert not column.choices or column.type == pa.string()


def test_the_negative_tails_columns_are_null_unless_it_ran() -> None:
    for column in columns.NEGATIVE_SCORES:
        assert column.null is not None
        assert column.null.endswith("unless both tails ran")


def test_bounded_columns_are_numbers() -> None:
    types = [column.type for column in columns.ROW if column.is_bounded]

    assert all(pa.types.is_floating(t) or pa.types.is_integer(t) for t in types)
