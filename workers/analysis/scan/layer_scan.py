"""All that is kept of one layer while blocks run: statistics and lists, by the kernels of a device.

Knows nothing of models or files. `LayerScan.update` is the only code whose cost grows with tokens
times neurons.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.scan.kernels.by_device import choose_kernels
from polyseme.workers.analysis.scan.kernels.interface import Kernels
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.scan.statistics.context_lists import (
    ListSizes,
    Sample,
    TailLists,
    joined,
    under,
)
from polyseme.workers.analysis.scan.statistics.layer_statistics import LayerStatistics


class LayerScan:
    """`arrays` and `merge` are how scans of different shards are put together."""

    def __init__(
        self,
        neurons: int,
        samples: Mapping[Tail, Sample],
        sizes: ListSizes,
        device: torch.device | str = "cpu",
        *,
        sparse: bool = False,
        kernels: Kernels | None = None,
    ) -> None:
        """samples: of each tail to scan; sparse: nearly all activations are 0.

        kernels: by default those of the device.
        """
        self.kernels = kernels or choose_kernels(device)
        self._reduce = self.kernels.reduce_sparse if sparse else self.kernels.reduce
        self.statistics = LayerStatistics(neurons, device)
        self.tails = {
            tail: TailLists(neurons, tail, sample, sizes, device)
            for tail, sample in samples.items()
        }

    def update(self, block: Block, activations: Tensor) -> None:
        """activations: (B, S, N), any float, in the block's windows. Nothing waits for a GPU."""
        if activations.shape[2] != len(self.statistics.low):
            # Compiled kernels check no place: they would write beyond the lists.
            raise ValueError(f"{activations.shape[2]} units for {len(self.statistics.low)} lists")
        if not activations.is_cuda:
            activations = activations.float()  # once, for all that follows
        extremes = self._reduce(block, activations, self.statistics)
        for tail, lists in self.tails.items():
            self.kernels.offer(block, activations, extremes, tail, lists)

    def arrays(self) -> dict[str, np.ndarray]:
        arrays = self.statistics.arrays()
        return arrays | joined({tail: lists.arrays() for tail, lists in self.tails.items()})

    def seed(self) -> dict[str, np.ndarray]:
        """What decides about others of all that the lists hold, as `fill` takes it."""
        return joined({tail: lists.seed() for tail, lists in self.tails.items()})

    def fill(self, seed: Mapping[str, np.ndarray]) -> None:
        """Fills the new lists with what scans of other windows of the corpus have found.

        They keep only what gets past it, and `arrays` gives only that: merged, the arrays of all
        give the same lists.
        """
        for tail, lists in self.tails.items():
            lists.fill(under(f"{tail}/", seed))

    def merge(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.statistics.merge(arrays)
        for tail, lists in self.tails.items():
            of_tail = under(f"{tail}/", arrays)
            for name, kept in lists.lists.items():
                self.kernels.merge(kept, under(f"{name}/", of_tail))
            if lists.edges is not None:
                lists.band_windows += torch.from_numpy(of_tail["band_windows"])
