"""The vectors of tokens, kept while a shard is scanned: one file a shard, written block by block.

Knows nothing of what the vectors are used for. A *stream* is one kind of vector, such as
"residual".
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numba
import numpy as np
import torch
from torch import Tensor

from polyseme.contract.files.store import Store
from polyseme.workers.analysis.corpus.plan import Plan
from polyseme.workers.analysis.files.arrays import ArrayFile, reading_arrays, seal, write_member

RESIDUAL = "residual"
PROJECTED = "projected"
REACH = 128  # tokens on each side of one that are around it


def vectors_file(folder: str, shard: int) -> str:
    return f"{folder}/{shard:06d}.npz"


def to_half(vectors: np.ndarray | Tensor) -> np.ndarray:
    """float16: cosines need no more. What is too large becomes the largest there is."""
    # torch converts several at once, on all cores, or before they leave a GPU.
    halves: np.ndarray = torch.as_tensor(vectors).float().clamp(-65504, 65504).half().cpu().numpy()
    return halves


def around(vectors: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The mean of what stands around each token, itself included: (T, D) float32.

    vectors: (T, D), of all tokens of some windows; lengths: tokens of each. The first of a window
    is left out, since nothing stands before it and models make something odd of that, unless it is
    alone.
    """
    levelled = np.empty(vectors.shape, np.float32)
    _fill_around(vectors, np.concatenate([[0], np.cumsum(lengths)]), levelled)
    return levelled


@numba.njit(parallel=True, nogil=True, cache=True, error_model="numpy")
def _fill_around(vectors, offsets, found):  # type: ignore[no-untyped-def]
    """offsets: (W + 1,), window i has the tokens offsets[i]:offsets[i + 1]."""
    for i in numba.prange(len(offsets) - 1):
        first, length = offsets[i], offsets[i + 1] - offsets[i]
        sums = np.zeros((length + 1, vectors.shape[1]))  # of the tokens before each
        for t in range(length):
            for d in range(vectors.shape[1]):
                sums[t + 1, d] = sums[t, d] + vectors[first + t, d]
        before = (-1, -1)
        for t in range(length):
            low, high = max(t - REACH, min(1, length - 1)), min(t + REACH + 1, length)
            if (low, high) == before:
                found[first + t] = found[first + t - 1]
                continue
            for d in range(vectors.shape[1]):
                found[first + t, d] = (sums[high, d] - sums[low, d]) / (high - low)
            before = (low, high)


class VectorWriter:
    """Takes a shard's vectors in the order of its windows and tokens, a block at a time."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._blocks: dict[str, int] = {}

    def add(self, stream: str, vectors: np.ndarray | Tensor) -> None:
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
    store: Store,
    source: str,
    target: str,
    shard: int,
    project: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> None:
    """Writes what `project` makes of a shard's residual vectors, block by block. source, target:
    folders.

    project: of a block's vectors and the lengths of its windows.
    """
    with (
        reading_arrays(store, vectors_file(source, shard)) as read,
        writing_vectors(store, vectors_file(target, shard)) as writer,
    ):
        offsets = read("offsets")
        for block, first, end in _whole_windows(read, RESIDUAL, offsets):
            writer.add(PROJECTED, project(block, np.diff(offsets[first : end + 1])))
        writer.put("offsets", offsets)


def read_vectors(
    store: Store, folder: str, plan: Plan, stream: str, rows: np.ndarray, positions: np.ndarray
) -> Iterator[np.ndarray]:
    """The vectors of some tokens, ascending by row and position, in pieces of (U, D) float16; a
    block in memory.
    """
    for number, shard in enumerate(plan.shards):
        low, high = np.searchsorted(rows, [shard.first_row, shard.first_row + shard.rows])
        if low < high:
            with reading_arrays(store, vectors_file(folder, number)) as read:
                at = read("offsets")[rows[low:high] - shard.first_row] + positions[low:high]
                yield from _take(read, stream, at)


def read_around(
    store: Store,
    folder: str,
    plan: Plan,
    rows: np.ndarray,
    positions: np.ndarray,
    reduce: Callable[[np.ndarray], np.ndarray],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The residual vectors of some tokens, and what `reduce` makes of them, its mean around the
    tokens.

    In pieces as `read_vectors` gives them.
    """
    for number, shard in enumerate(plan.shards):
        low, high = np.searchsorted(rows, [shard.first_row, shard.first_row + shard.rows])
        if low < high:
            with reading_arrays(store, vectors_file(folder, number)) as read:
                row, position, offsets = (
                    rows[low:high] - shard.first_row,
                    positions[low:high],
                    read("offsets"),
                )
                for block, first, end in _whole_windows(read, RESIDUAL, offsets):
                    a, b = np.searchsorted(row, [first, end])
                    if a < b:
                        at = offsets[row[a:b]] - offsets[first] + position[a:b]
                        means = around(reduce(block), np.diff(offsets[first : end + 1]))
                        yield block[at], means[at]


def _whole_windows(
    read: ArrayFile, stream: str, offsets: np.ndarray
) -> Iterator[tuple[np.ndarray, int, int]]:
    """The blocks, with which windows of the shard each holds."""
    token = 0
    for block in _blocks_of(read, stream):
        first, end = np.searchsorted(offsets, [token, token + len(block)])
        token += len(block)
        yield block, int(first), int(end)


def _take(read: ArrayFile, stream: str, at: np.ndarray) -> Iterator[np.ndarray]:
    first = 0
    for block in _blocks_of(read, stream):
        low, high = np.searchsorted(at, [first, first + len(block)])
        if low < high:
            yield block[at[low:high] - first]
        first += len(block)


def _blocks_of(read: ArrayFile, stream: str) -> Iterator[np.ndarray]:
    return (read(name) for name in sorted(n for n in read.names if n.startswith(f"{stream}/")))
