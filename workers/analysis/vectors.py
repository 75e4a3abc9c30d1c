"""The vectors of tokens, kept while a shard is scanned: one file a shard, written block by block.

Knows nothing of what the vectors are used for. A *stream* is one kind of vector, such as "residual".
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from contract.store import Store
from workers.analysis.partial import ArrayFile, reading_arrays, seal, write_member
from workers.analysis.plan import Plan

RESIDUAL = "residual"


def vectors_file(folder: str, shard: int) -> str:
    return f"{folder}/vectors/{shard:06d}.npz"


def input_stream(layer: int) -> str:
    """The inputs of a layer's MLP."""
    return f"input/{layer:03d}"


class VectorWriter:
    """Takes a shard's vectors in the order of its windows and tokens, a block at a time."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._blocks: dict[str, int] = {}

    def add(self, stream: str, vectors: np.ndarray) -> None:
        """vectors: (T, D), of all tokens of the next block. Kept as float16: cosines need no more."""
        number = self._blocks.get(stream, 0)
        self._blocks[stream] = number + 1
        self.put(f"{stream}/{number:06d}", vectors.clip(-65504, 65504).astype(np.float16))

    def end(self, lengths: np.ndarray) -> None:
        """lengths: tokens of each of the shard's windows, in their order."""
        self.put("offsets", np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    def put(self, name: str, array: np.ndarray) -> None:
        write_member(self._archive, name, array)


@contextmanager
def writing_vectors(store: Store, path: str) -> Iterator[VectorWriter]:
    with store.writing(path) as f, zipfile.ZipFile(f, "w", zipfile.ZIP_STORED) as archive:
        yield VectorWriter(archive)
        seal(archive)


def read_vectors(
    store: Store, folder: str, plan: Plan, stream: str, rows: np.ndarray, positions: np.ndarray
) -> Iterator[np.ndarray]:
    """The vectors of some tokens, ascending by row and position, in pieces of (U, D) float16; a block in memory."""
    for number, shard in enumerate(plan.shards):
        low, high = np.searchsorted(rows, [shard.first_row, shard.first_row + shard.rows])
        if low < high:
            with reading_arrays(store, vectors_file(folder, number)) as read:
                at = read("offsets")[rows[low:high] - shard.first_row] + positions[low:high]
                yield from _take(read, stream, at)


def _take(read: ArrayFile, stream: str, at: np.ndarray) -> Iterator[np.ndarray]:
    first = 0
    for name in sorted(n for n in read.names if n.startswith(f"{stream}/")):
        block = read(name)
        low, high = np.searchsorted(at, [first, first + len(block)])
        if low < high:
            yield block[at[low:high] - first]
        first += len(block)
