"""The vectors of tokens, kept while a shard is scanned: one file a shard, written block by block.

Knows nothing of what the vectors are used for. A *stream* is one kind of vector, such as "residual".
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from contract.store import Store
from workers.analysis.partial import ArrayFile, reading_arrays, seal, write_member
from workers.analysis.plan import Plan

RESIDUAL = "residual"
PROJECTED = "projected"


def vectors_file(folder: str, shard: int) -> str:
    return f"{folder}/{shard:06d}.npz"


def input_stream(layer: int) -> str:
    """The inputs of a layer's MLP."""
    return f"input/{layer:03d}"


def to_half(vectors: np.ndarray) -> np.ndarray:
    """float16: cosines need no more. What is too large becomes the largest there is."""
    return vectors.clip(-65504, 65504).astype(np.float16)


class VectorWriter:
    """Takes a shard's vectors in the order of its windows and tokens, a block at a time."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._blocks: dict[str, int] = {}

    def add(self, stream: str, vectors: np.ndarray) -> None:
        """vectors: (T, D), of all tokens of the next block. Kept as float16."""
        number = self._blocks.get(stream, 0)
        self._blocks[stream] = number + 1
        self.put(f"{stream}/{number:06d}", to_half(vectors))

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


def project_vectors(
    store: Store, source: str, target: str, shard: int, project: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Writes what `project` makes of a shard's residual vectors, block by block. source, target: folders."""
    with (
        reading_arrays(store, vectors_file(source, shard)) as read,
        writing_vectors(store, vectors_file(target, shard)) as writer,
    ):
        for block in _blocks_of(read, RESIDUAL):
            writer.add(PROJECTED, project(block))
        writer.put("offsets", read("offsets"))


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
    for block in _blocks_of(read, stream):
        low, high = np.searchsorted(at, [first, first + len(block)])
        if low < high:
            yield block[at[low:high] - first]
        first += len(block)


def _blocks_of(read: ArrayFile, stream: str) -> Iterator[np.ndarray]:
    return (read(name) for name in sorted(n for n in read.names if n.startswith(f"{stream}/")))
