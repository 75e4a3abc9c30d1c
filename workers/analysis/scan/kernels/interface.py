"""What every form of the kernels offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from torch import Tensor

from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.scan.statistics.context_lists import ContextLists, TailLists
from polyseme.workers.analysis.scan.statistics.extremes import Extremes
from polyseme.workers.analysis.scan.statistics.layer_statistics import LayerStatistics


class Kernels(Protocol):
    """The modules `reference`, `cpu` and `gpu`. Activations are (B, S, N), of any float."""

    __name__: str

    def reduce(self, block: Block, activations: Tensor, statistics: LayerStatistics) -> Extremes:
        """Adds a block to the statistics and gives its extremes.

        A neuron with an activation that is not finite is noted in the statistics; its other numbers
        and its lists have no meaning, and those of others are what they would be without it.
        """

    def reduce_sparse(
        self, block: Block, activations: Tensor, statistics: LayerStatistics
    ) -> Extremes:
        """The same of activations that are nearly all 0 (and none -0): no other result."""

    def offer(
        self, block: Block, activations: Tensor, extremes: Extremes, tail: Tail, lists: TailLists
    ) -> None:
        """Offers each window's peak to the lists of each neuron.

        Where only what is active is kept, a GPU may keep others, too: whoever reads the lists
        leaves them out.
        """

    def merge(self, lists: ContextLists, entries: Mapping[str, np.ndarray]) -> None:
        """Offers the entries of another scan's lists, as `ContextLists.entries` gives them."""

    def find_firings(self, flat: Tensor, index: Tensor, sign: float, threshold: Tensor) -> Tensor:
        """Which neurons fire at some tokens, as numpy's packbits lays them.

        flat: (T, N); index: (r,) of the tokens; threshold: (N,) float32. Returns (r, ⌈N / 8⌉)
        uint8, the first of eight neurons the highest bit.
        """
