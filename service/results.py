"""Results, read from the store: scalar tables held in memory, one report by its row group. Knows nothing of HTTP."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from bisect import bisect
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import accumulate
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contract.errors import DamagedFile, Gone, NotFound
from contract.results import NEURONS, SCALARS, TOKENS, report_file
from contract.store import Layout, Store

TABLE_BYTES = 256 << 20  # of scalar tables and vocabularies a process keeps
PAGE_BYTES = 32 << 20  # of written pages of lists a process keeps
OPEN_FILES = 64  # report files a process keeps open
ORDER_BYTES = 16 << 20  # of sort orders kept a table, and as much of the beginnings of orders
HEAD_ROWS = 10_000  # of each sort order kept whichever are kept whole: lists are seldom read further
_ENTRY_BYTES = 64 << 10  # what a table of few rows takes beside its values: its columns' and their buffers' own objects
_ASKED_BYTES = 16 << 10  # what a written page takes beside its rows: above all its query, which fits a request line

_PEAKS = "peak_token_ids"

T = TypeVar("T")


class Kept(Generic[T]):
    """The values used last, up to a total weight. Thread-safe; a value may be made twice, which harms nothing."""

    def __init__(self, most: int, weigh: Callable[[T], int] = lambda _: 1) -> None:
        self._most, self._weigh = most, weigh
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self._weight = 0

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            if key not in self._values:
                self._values[key] = value
                self._weight += self._weigh(value)
            while self._weight > self._most and len(self._values) > 1:
                _, oldest = self._values.popitem(last=False)
                self._weight -= self._weigh(oldest)
        return value

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._values

    def drop(self, wanted: Callable[[Any], bool]) -> None:
        with self._lock:
            for key in [k for k in self._values if wanted(k)]:
                self._weight -= self._weigh(self._values.pop(key))


@dataclass(frozen=True)
class Vocabulary:
    texts: pa.Array

    @cached_property
    def trimmed(self) -> pa.Array:
        """The same without the space around."""
        return pc.utf8_trim_whitespace(self.texts)

    def ids_of(self, token: str) -> pa.Array:
        """The ids of all tokens with this text, space around it aside."""
        return pc.indices_nonzero(pc.equal(self.trimmed, token.strip()))

    def read(self, ids: Sequence[int]) -> list[str]:
        """Raises DamagedFile for an id that is no token."""
        try:
            texts: list[str] = self.texts.take(pa.array(ids, pa.int64())).to_pylist()
        except pa.ArrowIndexError as e:
            raise DamagedFile(f"a token beyond the vocabulary of {len(self.texts)}") from e
        return texts


@dataclass(frozen=True)
class Scalars:
    """`neurons.parquet` in memory, by layer and neuron, but for the lists of peak tokens."""

    table: pa.Table
    read_peaks: Callable[[], pa.Array]
    orders: Kept[pa.Array] = field(default_factory=lambda: Kept(ORDER_BYTES, lambda order: order.nbytes))
    heads: Kept[pa.Array] = field(default_factory=lambda: Kept(ORDER_BYTES, lambda order: order.nbytes))

    def order(self, sort: Sequence[tuple[str, str]]) -> pa.Array:
        """Row numbers in the order of (column, "ascending" | "descending"), ties by layer and neuron.

        Nulls come last either way, which is pyarrow's default.
        """
        return self.orders.get(tuple(sort), lambda: _sort(self._keys(sort), sort).cast(pa.uint32()))

    def first(self, sort: Sequence[tuple[str, str]], rows: int, mask: pa.Array | None = None) -> pa.Array:
        """The beginning of the order: at least so many row numbers, where there are so many. mask: of the rows wanted,
        without nulls."""
        if rows > HEAD_ROWS:
            order = self.order(sort)
            return order if mask is None else order.filter(mask.take(order))
        if mask is None:
            return self.heads.get(tuple(sort), lambda: self._sort_first(sort, HEAD_ROWS, None))
        return self._sort_first(sort, rows, mask)

    def _sort_first(self, sort: Sequence[tuple[str, str]], rows: int, mask: pa.Array | None) -> pa.Array:
        """Without sorting what comes after them: sixty milliseconds for half a million rows."""
        keys = self._keys(sort)
        wanted = None if mask is None else pc.indices_nonzero(mask)
        for name, way in sort[:1]:
            values = keys[name] if wanted is None else keys[name].take(wanted)
            near = _reaching(values, way, rows)
            wanted = near if wanted is None else wanted.take(near)
        found = _sort(keys if wanted is None else keys.take(wanted), sort).slice(0, rows)
        return (found if wanted is None else wanted.take(found)).cast(pa.uint32())

    def _keys(self, sort: Sequence[tuple[str, str]]) -> pa.Table:
        """The columns to sort by; without any, as many rows that are all alike."""
        columns = {name: _sortable(self.table[name]) for name, _ in sort}
        return pa.table(columns or {"": pa.nulls(len(self.table))})

    @cached_property
    def peak_token_ids(self) -> pa.Array:
        """The lists. Only a search for a token needs them, and they take half as long to read as all the rest."""
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
        return {n: (a, b - a) for n, a, b in zip(runs.values.to_pylist(), starts, ends, strict=True)}

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


@dataclass(frozen=True)
class WrittenPage:
    """A page of a list as it is sent. A result never changes, so neither does this."""

    rows: bytes  # JSON
    total: int
    next_offset: int | None


class Report:
    """One layer's report file, kept open. A ParquetFile serves one thread at a time."""

    def __init__(self, path: str) -> None:
        self._file = pq.ParquetFile(path, memory_map=True)
        self._lock = threading.Lock()
        counts = [self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)]
        self._starts = list(accumulate(counts, initial=0))
        self._neurons = self._file.read(["neuron"], use_threads=False)["neuron"].combine_chunks()

    def read(self, neuron: int) -> dict[str, Any] | None:
        row = pc.index(self._neurons, neuron).as_py()
        if row < 0:
            return None
        group = bisect(self._starts, row) - 1
        with self._lock:
            # Not kept: new memory for the next one costs random reads more than neighbours would save.
            table = self._file.read_row_group(group, use_threads=False)
        found: dict[str, Any] = table.slice(row - self._starts[group], 1).to_pylist()[0]
        return found


class Results:
    def __init__(self, store: Store, cache: str) -> None:
        self._store = store
        self._cache = Path(cache)
        self._scalars: Kept[Scalars] = Kept(TABLE_BYTES, lambda s: s.table.nbytes + _ENTRY_BYTES)
        self._vocabularies: Kept[Vocabulary] = Kept(TABLE_BYTES, lambda v: 2 * v.texts.nbytes)
        self._reports: Kept[Report] = Kept(OPEN_FILES)
        self._pages: Kept[WrittenPage] = Kept(PAGE_BYTES, lambda p: len(p.rows) + _ASKED_BYTES)
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader")

    def scalars(self, job: str) -> Scalars:
        return self._scalars.get(job, lambda: _read_scalars(partial(self.local_file, job, NEURONS)))

    def vocabulary(self, job: str) -> Vocabulary:
        return self._vocabularies.get(job, lambda: _read_vocabulary(self.local_file(job, TOKENS)))

    def page(self, job: str, asked: Hashable, write: Callable[[], WrittenPage]) -> WrittenPage:
        """The page that answers a query of a job's neurons; asked: all that decides it. Whether the job is there still,
        and whose it is, is not asked here."""
        return self._pages.get((job, asked), write)

    def report(self, job: str, layer: int, neuron: int) -> dict[str, Any]:
        """The report row of one neuron, from its layer's file alone. Raises NotFound, Gone, DamagedFile."""
        try:
            found = self._open_report(job, layer).read(neuron)
        except Gone:
            if self.scalars(job).has(layer, neuron):
                raise
            found = None
        if found is not None and found["layer"] == layer:
            return found
        if self.scalars(job).has(layer, neuron):
            raise DamagedFile(f"{report_file(layer)} of {job} does not fit {NEURONS}")
        raise NotFound(f"layer {layer}, neuron {neuron} is not among the neurons of {job}")

    def _open_report(self, job: str, layer: int) -> Report:
        return self._reports.get((job, layer), lambda: Report(self.local_file(job, report_file(layer))))

    def warm(self, job: str) -> None:
        """Begins to load what lists and reports of a job read, in a thread of its own, unless it is there."""
        if job not in self._scalars:
            self._loader.submit(self._load, job)

    def _load(self, job: str) -> None:
        # What is wrong with it is said to whoever asks for it.
        with suppress(Gone, DamagedFile, OSError, pa.ArrowException):
            if job not in self._scalars:
                self.scalars(job)
                self.vocabulary(job)
            # A report file's footer takes longer to read than a report. From object storage only what is asked for.
            if self._store.is_local:
                for layer in self.layers(job)[:OPEN_FILES]:
                    self._open_report(job, layer)

    def layers(self, job: str) -> list[int]:
        return self.scalars(job).layers

    def rows(self, job: str, layer: int) -> Iterator[dict[str, Any]]:
        """All report rows of a layer, a row group in memory at a time."""
        with pq.ParquetFile(self.local_file(job, report_file(layer)), memory_map=True) as file:
            for group in range(file.num_row_groups):
                yield from file.read_row_group(group, use_threads=False).to_pylist()

    def read(self, job: str, name: str) -> bytes:
        """A whole small file of the result. Raises Gone."""
        with open(self.local_file(job, name), "rb") as f:
            return f.read()

    def local_file(self, job: str, name: str) -> str:
        """A path on this machine; what lies on object storage is copied to the cache once. Raises Gone."""
        path = f"{Layout.result(job)}/{name}"
        if self._store.is_local:
            found = self._store.local_path(path)
            if not os.path.exists(found):
                raise Gone(f"{name} of {job} is no longer in the store")
            return found
        copy = self._cache / path
        if not copy.exists():
            self._fetch(path, copy, job)
        return str(copy)

    def forget(self, job: str) -> None:
        """Lets go of what is kept of a deleted job."""
        self._scalars.drop(lambda key: key == job)
        self._vocabularies.drop(lambda key: key == job)
        self._reports.drop(lambda key: key[0] == job)
        self._pages.drop(lambda key: key[0] == job)
        shutil.rmtree(self._cache / Layout.result(job), ignore_errors=True)

    def _fetch(self, path: str, copy: Path, job: str) -> None:
        copy.parent.mkdir(parents=True, exist_ok=True)
        temporary = copy.with_name(f"{copy.name}.{secrets.token_hex(6)}.tmp")
        try:
            with self._store.open(path) as source, open(temporary, "wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            os.replace(temporary, copy)
        except FileNotFoundError as e:
            raise Gone(f"{path} of {job} is no longer in the store") from e
        finally:
            temporary.unlink(missing_ok=True)


def _read_scalars(path: Callable[[], str]) -> Scalars:
    """path: where the file is; asked again when the lists are, which the store may have lost by then."""
    table = _read_columns(path(), [name for name in SCALARS.names if name != _PEAKS])
    # JSON has no NaN, and sorting has one place for what is not there.
    columns = [pc.if_else(pc.is_finite(c), c, None) if pa.types.is_floating(c.type) else c for c in table.columns]
    return Scalars(
        pa.table(columns, table.column_names), lambda: _read_columns(path(), [_PEAKS])[_PEAKS].combine_chunks()
    )


def _read_vocabulary(path: str) -> Vocabulary:
    return Vocabulary(_read_columns(path, ["text"])["text"].combine_chunks())


def _read_columns(path: str, names: Sequence[str]) -> pa.Table:
    """`pq.read_table` would do, but its first call loads `pyarrow.dataset` while a client waits."""
    with pq.ParquetFile(path) as file:
        return file.read(names).combine_chunks()
