"""Windows of tokens: the rows that run through the model, as Arrow files of blocks.

Knows nothing of models.

A *window* is a run of tokens that the model sees at once. A *block* is a set of windows that always
run together, so that a window's activations never depend on how the work is shared out. A *row*
numbers windows in the order in which they run; `number` counts them through the corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa

_FLAT = {  # of each token
    "ids": pa.int32(),
    "documents": pa.int32(),  # one document unless packing is concat
    "starts": pa.int32(),  # characters into the token's document; 0, 0 for special tokens
    "ends": pa.int32(),
    "counted": pa.bool_(),  # False: in no statistic and never a peak
}
SCHEMA = pa.schema(
    [
        ("number", pa.int32()),
        *((name, pa.list_(kind)) for name, kind in _FLAT.items()),
        # What its tokens span of its documents, one after the other. Large: a layer's windows may
        # hold more than 2 GiB of it.
        ("text", pa.large_string()),
    ]
)


@dataclass(frozen=True, eq=False)
class Window:
    number: int
    ids: np.ndarray  # (S,) int32, and so on
    documents: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    counted: np.ndarray  # (S,) bool
    text: str = ""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Windows:
    """Many windows as flat columns: window i has the tokens offsets[i]:offsets[i + 1]."""

    number: np.ndarray  # (W,) int32
    offsets: np.ndarray  # (W + 1,) int64
    ids: np.ndarray  # (T,) int32, and so on
    documents: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    counted: np.ndarray  # (T,) bool
    text: pa.Array  # (W,)

    def __len__(self) -> int:
        return len(self.number)

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    def __getitem__(self, rows: slice) -> Windows:
        """Neighbouring windows."""
        first, end, _ = rows.indices(len(self))
        low, high = self.offsets[first], self.offsets[end]
        flat = {name: getattr(self, name)[low:high] for name in _FLAT}
        return Windows(
            number=self.number[first:end],
            offsets=self.offsets[first : end + 1] - low,
            text=self.text[first:end],
            **flat,
        )


def cut_text(
    documents: np.ndarray, starts: np.ndarray, ends: np.ndarray, texts: Mapping[int, str]
) -> str:
    """What the tokens of a window span of their documents, one after the other. texts: of each of
    these.
    """
    firsts = _first_of_runs(documents)
    low, high = _extents(starts, ends, firsts)
    runs = zip(documents[firsts].tolist(), low.tolist(), high.tolist(), strict=True)
    return "".join(texts[document][a:b] for document, a, b in runs)


def shift_into_text(windows: Windows) -> np.ndarray:
    """(T,) int64: added to a token's start and end, it gives the token's place in its window's
    text.
    """
    return documents_in_text(windows)[0]


def documents_in_text(windows: Windows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each token `shift_into_text`, and where its document begins and ends in its window's text,
    (T,) int64 each.
    """
    owner = np.repeat(np.arange(len(windows)), windows.lengths)
    firsts = _first_of_runs(owner.astype(np.int64) << 32 | windows.documents)
    low, high = _extents(windows.starts, windows.ends, firsts)
    joined = np.concatenate([[0], np.cumsum(high - low)])
    of_window = joined[np.searchsorted(firsts, windows.offsets[owner[firsts]])]
    begin = joined[:-1] - of_window
    sizes = np.diff(np.append(firsts, len(owner)))
    shift, first, end = (np.repeat(x, sizes) for x in (begin - low, begin, begin + high - low))
    return shift, first, end


def _first_of_runs(values: np.ndarray) -> np.ndarray:
    """Where runs of equal values begin."""
    return np.flatnonzero(np.append(True, values[1:] != values[:-1])[: len(values)])


def _extents(
    starts: np.ndarray, ends: np.ndarray, firsts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The first and one past the last character of each run's tokens, int64; 0 and 0 of a run
    without any.
    """
    if not len(firsts):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    filled = ends > starts
    low = np.minimum.reduceat(np.where(filled, starts, np.int64(2**62)), firsts)
    high = np.maximum.reduceat(np.where(filled, ends, np.int64(0)), firsts)
    return np.where(high > 0, low, 0), high


def pack(windows: Sequence[Window]) -> pa.RecordBatch:
    """One block of windows as a record batch."""
    offsets = np.zeros(len(windows) + 1, np.int32)
    np.cumsum([len(w) for w in windows], out=offsets[1:])
    columns = [pa.array([w.number for w in windows], pa.int32())]
    for name in _FLAT:
        flat = pa.array(np.concatenate([getattr(w, name) for w in windows]))
        columns.append(pa.ListArray.from_arrays(offsets, flat))
    columns.append(pa.array([w.text for w in windows], pa.large_string()))
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def unpack(batch: pa.RecordBatch) -> Windows:
    ids = batch.column("ids")
    offsets = ids.offsets.to_numpy().astype(np.int64)
    flat = {name: batch.column(name).flatten().to_numpy(zero_copy_only=False) for name in _FLAT}
    return Windows(
        number=batch.column("number").to_numpy(),
        offsets=offsets - offsets[0],
        text=batch.column("text"),
        **flat,
    )


def write_blocks(file: IO[bytes], blocks: Iterable[pa.RecordBatch]) -> None:
    with pa.ipc.new_file(file, SCHEMA) as writer:
        for block in blocks:
            writer.write_batch(block)


def read_blocks(file: IO[bytes]) -> Iterator[Windows]:
    """The blocks of a file in their order, one in memory at a time."""
    reader = pa.ipc.open_file(file)
    for i in range(reader.num_record_batches):
        yield unpack(reader.get_batch(i))


def take_rows(file: IO[bytes], rows: np.ndarray) -> pa.Table:
    """The windows at the given rows of one file (ascending, from 0), reading only the blocks that
    hold them.
    """
    reader = pa.ipc.open_file(file)
    found, first = [], 0
    for i in range(reader.num_record_batches):
        if first > (rows[-1] if len(rows) else -1):
            break
        batch = reader.get_batch(i)
        inside = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + batch.num_rows)]
        if len(inside):
            found.append(batch.take(pa.array(inside - first)))
        first += batch.num_rows
    return pa.Table.from_batches(found, schema=SCHEMA)
