"""A column of a result, or a field of the entries of one: how it is declared.

Knows no column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

TAILS: Final = ("positive", "negative")
NOT_FINITE: Final = "not_finite"
CLAIMING: Final = ("polysemantic", "monosemantic")  # the statuses that claim something
STATUSES: Final = (
    *CLAIMING,
    "described",
    "insufficient_evidence",
    "not_scored",
    NOT_FINITE,
)


@dataclass(frozen=True)
class Column:
    """A column, or a field of the entries of one."""

    name: str
    type: pa.DataType
    words: str  # a sentence: what it is
    unit: str = ""  # or its range; empty for a text, an index and what has none
    null: str | None = None  # goes on from "null ", such as "when std is 0"; None: it never is
    choices: tuple[str, ...] = ()  # of a text: the ones that there are
    is_bounded: bool = False  # lists have min_ and max_ of it as filters
    is_listed: bool = True  # lists of neurons can show it, and be sorted by it
    parts: tuple[Column, ...] = ()  # of the entries of a list, where these have fields

    @property
    def description(self) -> str:
        return self.words if self.null is None else f"{self.words[:-1]}; null {self.null}."

    @property
    def field(self) -> pa.Field:
        return pa.field(self.name, self.type)


def list_of(name: str, parts: tuple[Column, ...], words: str, null: str | None = None) -> Column:
    """A column of lists, whose entries have these fields."""
    return Column(name, pa.list_(struct_of(parts)), words, null=null, parts=parts)


def struct_of(parts: tuple[Column, ...]) -> pa.StructType:
    return pa.struct([p.field for p in parts])


def schema_of(columns: tuple[Column, ...]) -> pa.Schema:
    return pa.schema([c.field for c in columns])


def negative(name: str) -> str:
    """The negative tail's column."""
    return f"negative_{name}"


INT: Final = pa.int32()
LONG: Final = pa.int64()
FLOAT: Final = pa.float32()
DOUBLE: Final = pa.float64()
TEXT: Final = pa.string()

SHARE_RANGE: Final = "0 to 1"
ACTIVATION: Final = "activation"  # as the model gives it
LOGIT_UNIT: Final = "logit"
CHANCE_RANGE: Final = "0 to 1"  # a probability
CONTEXT_UNIT: Final = "contexts"
