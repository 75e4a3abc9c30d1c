"""Scalars and vocabularies of results in memory: their orders, and which rows come first.

Know nothing of queries: they get a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from polyseme.contract.errors import ResultDamaged
from polyseme.contract.files.columns import (
    GHOST_LISTED,
    IN_HEADS,
    LISTED,
    PEAK_TEXTS,
    PEAK_TOKEN_IDS,
    STORED,
)
from polyseme.contract.files.results import GHOST_SCALARS, SCALARS, fill_up
from polyseme.service.results.lru import SharedLru

ORDER_BYTES = 16 << 20  # of sort orders kept a table, and as much of the beginnings of orders
# Of each sort order kept whichever are kept whole: lists are seldom read further.
HEAD_ROWS = 10_000

_PEAKS = (PEAK_TOKEN_IDS.name, PEAK_TEXTS.name)


@dataclass(frozen=True)
class Vocabulary:
    texts: pa.Array
    special: frozenset[int]  # ids that stand for no text

    @cached_property
    def trimmed(self) -> pa.Array:
        """The same without the space around."""
        return pc.utf8_trim_whitespace(self.texts)

    def ids_of(self, token: str) -> pa.Array:
        """The ids of all tokens with this text, space around it aside."""
        return pc.indices_nonzero(pc.equal(self.trimmed, token.strip()))

    def without_special(self) -> pa.Array:
        """The texts, "" for those of special tokens."""
        mask = pa.array([i in self.special for i in range(len(self.texts))])
        return pc.if_else(mask, "", self.texts)

    def read(self, ids: Sequence[int]) -> list[str]:
        """Raises ResultDamaged for an id that is no token."""
        try:
            texts: list[str] = self.texts.take(pa.array(ids, pa.int64())).to_pylist()
        except pa.ArrowIndexError as e:
            raise ResultDamaged(f"a token beyond the vocabulary of {len(self.texts)}") from e
        return texts


@dataclass(frozen=True)
class Scalars:
    """`neurons.parquet` in memory, by layer and neuron, but for the lists of what is at peaks; or
    `ghosts.parquet`, by layer and control unit.
    """

    table: pa.Table
    read_peaks: Callable[[], pa.Table]
    orders: SharedLru[pa.Array] = field(
        default_factory=lambda: SharedLru(ORDER_BYTES, lambda order: order.nbytes)
    )
    heads: SharedLru[pa.Array] = field(
        default_factory=lambda: SharedLru(ORDER_BYTES, lambda order: order.nbytes)
    )

    def order(self, sort: Sequence[tuple[str, str]]) -> pa.Array:
        """Row numbers in the order of (column, "ascending" | "descending"), ties by layer and
        neuron.

        Nulls come last either way, which is pyarrow's default.
        """
        return self.orders.get(tuple(sort), lambda: _sort(self._keys(sort), sort).cast(pa.uint32()))

    def first(
        self, sort: Sequence[tuple[str, str]], rows: int, mask: pa.Array | None = None
    ) -> pa.Array:
        """The beginning of the order: at least so many row numbers, where there are so many.

        mask: of the rows wanted, without nulls.
        """
        if rows > HEAD_ROWS:
            order = self.order(sort)
            return order if mask is None else order.filter(mask.take(order))
        if mask is None:
            return self.heads.get(tuple(sort), lambda: self._sort_first(sort, HEAD_ROWS, None))
        return self._sort_first(sort, rows, mask)

    def _sort_first(
        self, sort: Sequence[tuple[str, str]], rows: int, mask: pa.Array | None
    ) -> pa.Array:
        """Without sorting what comes after them: sixty milliseconds for half a million rows."""
        keys = self._keys(sort)
        wanted = None if mask is None else pc.indices_nonzero(mask)
        for name, way in sort[:1]:
            values = keys[name] if wanted is None else keys[name].take(wanted)
            near = _reaching(values, way, rows)
            wanted = near if wanted is None else wanted.take(near)
        first = _sort(keys if wanted is None else keys.take(wanted), sort).slice(0, rows)
        return (first if wanted is None else wanted.take(first)).cast(pa.uint32())

    def _keys(self, sort: Sequence[tuple[str, str]]) -> pa.Table:
        """The columns to sort by; without any, as many rows that are all alike."""
        columns = {name: _sortable(self.table[name]) for name, _ in sort}
        return pa.table(columns or {"": pa.nulls(len(self.table))})

    @cached_property
    def peaks(self) -> pa.Table:
        """The lists: `peak_token_ids` and `peak_texts`.

        Only a search for a token needs them, and they take half as long to read as all the rest.
        """
        return self.read_peaks()

    @cached_property
    def numbers(self) -> pa.Array:
        return _count(len(self.table)).cast(pa.int64())

    @cached_property
    def layers(self) -> list[int]:
        return list(self._spans)

    @cached_property
    def _spans(self) -> dict[int, tuple[int, int]]:
        """Of each layer, its first row and how many it has."""
        runs = pc.run_end_encode(self.table["layer"].combine_chunks())
        ends = runs.run_ends.to_pylist()
        starts = [0, *ends[:-1]]
        return {
            n: (a, b - a) for n, a, b in zip(runs.values.to_pylist(), starts, ends, strict=True)
        }

    def has(self, layer: int, neuron: int) -> bool:
        first, count = self._spans.get(layer, (0, 0))
        return pc.index(self.table["neuron"].slice(first, count), neuron).as_py() >= 0


def _sort(keys: pa.Table, sort: Sequence[tuple[str, str]]) -> pa.Array:
    """Row numbers in order. The sort is stable, so ties stay as they are: by layer and neuron."""
    return pc.sort_indices(keys, sort_keys=list(sort)) if sort else _count(len(keys))


def _reaching(values: pa.ChunkedArray, way: str, rows: int) -> pa.Array:
    """The numbers of the values that come first, so many and all that tie with the last of them."""
    known = values.combine_chunks().drop_null()
    if len(known) <= rows:
        return _count(len(values))
    last = rows - 1 if way == "ascending" else len(known) - rows
    edge = known[pc.partition_nth_indices(known, pivot=last)[last].as_py()]
    reaches = pc.less_equal if way == "ascending" else pc.greater_equal
    return pc.indices_nonzero(pc.fill_null(reaches(values, edge), False))


def _count(rows: int) -> pa.Array:
    """0, 1, 2 and so on, so many of them."""
    return pc.indices_nonzero(pa.nulls(rows).is_null())


def _sortable(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """What sorts as the column does, and sooner where that has texts: numbers of them."""
    if not pa.types.is_string(column.type):
        return column
    texts = column.combine_chunks().dictionary_encode()
    return pc.rank(texts.dictionary, tiebreaker="first").take(texts.indices)


def read_scalars(
    opened: Callable[[], AbstractContextManager[str]], head_size: int | None = None
) -> Scalars:
    """opened: gives where the file is; asked again when the lists are, which the store may have
    lost by then. head_size: units that lie in one head; None of units in none.
    """

    def read(names: Sequence[str]) -> pa.Table:
        with opened() as path:
            return _read_columns(path, names)

    stored = fill_up(read(STORED), pa.schema([SCALARS.field(name) for name in STORED]))
    table = _with_heads(_without_nan(stored), head_size)
    return Scalars(table, lambda: read(_PEAKS))


def _with_heads(table: pa.Table, size: int | None) -> pa.Table:
    """In the order of LISTED."""
    for i, column in enumerate(IN_HEADS):
        if size is None:
            places = pa.nulls(len(table), column.type)
        else:
            places = pa.chunked_array(
                [
                    pa.array(divmod(c.to_numpy(), size)[i], column.type)
                    for c in table["neuron"].chunks
                ],
                column.type,
            )
        table = table.append_column(column.name, places)
    return table.select(LISTED)


def read_controls(path: str | None) -> Scalars:
    """Of control units. path: None of a result that has none."""
    table = GHOST_SCALARS.empty_table() if path is None else _read_columns(path, GHOST_LISTED)
    return Scalars(_without_nan(table), lambda: pa.table({name: [] for name in _PEAKS}))


def _without_nan(table: pa.Table) -> pa.Table:
    """JSON has no NaN, and sorting has one place for what is not there."""
    columns = [
        pc.if_else(pc.is_finite(c), c, None) if pa.types.is_floating(c.type) else c
        for c in table.columns
    ]
    return pa.table(columns, table.column_names)


def read_vocabulary(path: str) -> Vocabulary:
    columns = _read_columns(path, ["text", "special"])
    special = pc.indices_nonzero(columns["special"]).to_pylist()
    return Vocabulary(columns["text"].combine_chunks(), frozenset(special))


def _read_columns(path: str, names: Sequence[str]) -> pa.Table:
    """`pq.read_table` would do, but its first call loads `pyarrow.dataset` while a client waits."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return file.read(list(names)).combine_chunks()
