"""Windows of tokens: the rows that run through the model, as Arrow files of blocks.

Knows nothing of models.

A *window* is a run of tokens that the model sees at once. A *block* is a set of windows that always
run together, so that a window's activations never depend on how the work is shared out. A *row*
numbers windows in the order in which they run; `number` counts them through the corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa

SCHEMA = pa.schema(
    [
        ("number", pa.int32()),
        ("ids", pa.list_(pa.int32())),
        ("documents", pa.list_(pa.int32())),  # of each token; one document unless packing is concat
        (
            "starts",
            pa.list_(pa.int32()),
        ),  # characters into the token's document; 0, 0 for special tokens
        ("ends", pa.list_(pa.int32())),
        ("counted", pa.list_(pa.bool_())),  # False: in no statistic and never a peak
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

    def __len__(self) -> int:
        return len(self.number)

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    def __getitem__(self, rows: slice) -> Windows:
        """Neighbouring windows."""
        first, end, _ = rows.indices(len(self))
        low, high = self.offsets[first], self.offsets[end]
        flat = {name: getattr(self, name)[low:high] for name in SCHEMA.names[1:]}
        return Windows(
            number=self.number[first:end], offsets=self.offsets[first : end + 1] - low, **flat
        )


def pack(windows: Sequence[Window]) -> pa.RecordBatch:
    """One block of windows as a record batch."""
    offsets = np.zeros(len(windows) + 1, np.int32)
    np.cumsum([len(w) for w in windows], out=offsets[1:])
    columns = [pa.array([w.number for w in windows], pa.int32())]
    for name in SCHEMA.names[1:]:
        flat = pa.array(np.concatenate([getattr(w, name) for w in windows]))
        columns.append(pa.ListArray.from_arrays(offsets, flat))
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def unpack(batch: pa.RecordBatch) -> Windows:
    ids = batch.column("ids")
    offsets = ids.offsets.to_numpy().astype(np.int64)
    flat = {
        name: batch.column(name).flatten().to_numpy(zero_copy_only=False)
        for name in SCHEMA.names[1:]
    }
    return Windows(number=batch.column("number").to_numpy(), offsets=offsets - offsets[0], **flat)


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
