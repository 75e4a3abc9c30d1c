"""What becomes of a block that does not fit into the device's memory: its windows are run in two
halves, or in four, ….

Everything that was kept until then is made anew, since nobody knows how much of the block it holds
already. A window that runs beside fewer others may differ in its last bits, so it is counted how
many blocks were cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch

from polyseme.contract.files.store import Store
from polyseme.workers.analysis.corpus.windows import Windows
from polyseme.workers.analysis.files.arrays import reading_arrays
from polyseme.workers.analysis.machine.memory import release_memory
from polyseme.workers.analysis.scan.statistics.block import Block

_CUT = "blocks/cut"

Found = TypeVar("Found")


class BlockTooLarge(Exception):
    """A block of several windows does not fit. Not an error of anybody's."""

    def __init__(self, size: int) -> None:
        super().__init__(f"a block of {size} tokens does not fit into the device's memory")
        self.size = size  # tokens, padding included


@contextmanager
def measuring(block: Block) -> Iterator[None]:
    """Raises BlockTooLarge when the memory does not suffice.

    A window alone cannot be cut, so its error passes.
    """
    try:
        yield
    except torch.OutOfMemoryError as e:
        if len(block.rows) == 1:
            raise
        raise BlockTooLarge(block.ids.numel()) from e


class Halving:
    """How far the blocks of one unit have to be cut, as its attempts show."""

    def __init__(self) -> None:
        self._largest: int | None = None  # tokens, padding included, that may run at once
        self._cut = 0

    def run(self, work: Callable[[], Found]) -> Found:
        """Calls `work`, which is to begin at the beginning, until what `cut` gives it fits."""
        while True:
            self._cut = 0
            try:
                return work()
            except BlockTooLarge as e:
                self._largest = e.size // 2
            # Only now that the error is gone does nothing hold on to the tensors of the attempt.
            release_memory()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def cut(self, blocks: Iterable[Windows]) -> Iterator[Windows]:
        """The blocks, each in as many parts as it needs, in the order of their rows."""
        for windows in blocks:
            parts = list(_halve(windows, self._largest))
            self._cut += len(parts) > 1
            yield from parts

    def arrays(self) -> dict[str, np.ndarray]:
        return note_cut(self._cut)


def note_cut(blocks: int) -> dict[str, np.ndarray]:
    """How many blocks were cut, for a file; nothing when none was."""
    return {_CUT: np.array([blocks])} if blocks else {}


def count_cut(store: Store, paths: Iterable[str]) -> int:
    """The blocks that were cut, by files that have a note of it."""
    total = 0
    for path in paths:
        with reading_arrays(store, path) as read:
            total += int(read(_CUT)[0]) if _CUT in read.names else 0
    return total


def _halve(windows: Windows, largest: int | None) -> Iterator[Windows]:
    count = len(windows)
    if largest is None or count == 1 or count * int(windows.lengths.max()) <= largest:
        yield windows
        return
    yield from _halve(windows[: count // 2], largest)
    yield from _halve(windows[count // 2 :], largest)
