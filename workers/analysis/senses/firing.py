"""On which of the corpus' random tokens each neuron fires: what a sense must predict to be more
than a pattern.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.scan.kernels.by_device import choose_kernels
from polyseme.workers.analysis.scan.statistics.context_lists import SIGN
from polyseme.workers.analysis.senses.background import RANDOM_TOKENS

FIRES = 0.2  # of the largest peak in the calibration windows: a neuron fires above it


def firing_threshold(peaks: np.ndarray) -> np.ndarray:
    """(N,) float32; infinite for a neuron that no calibration window moves. peaks: (W, N)."""
    most = peaks.max(0)
    return np.where(most > 0, FIRES * most, np.inf).astype(np.float32)


class FiringSample:
    """Collects one layer's firings, a bit each."""

    def __init__(self, thresholds: Mapping[Tail, np.ndarray], device: torch.device | str) -> None:
        """thresholds: (N,) of each tail."""
        self._kernels = choose_kernels(device)
        self._thresholds = {tail: torch.from_numpy(t).to(device) for tail, t in thresholds.items()}
        self._rows = {tail: _Rows((len(t) + 7) // 8, device) for tail, t in thresholds.items()}

    def update(self, index: Tensor, activations: Tensor, counted: Tensor | None = None) -> None:
        """index: (r,) of the block's random tokens among its B * S; activations: (B, S, N);
        counted: (B, S) bool, False where nothing fires. None: all may.
        """
        flat = activations.flatten(0, 1)
        silent = None if counted is None else ~counted.view(-1)[index, None]
        for tail, threshold in self._thresholds.items():
            firings = self._kernels.find_firings(flat, index, SIGN[tail], threshold)
            if silent is not None:
                firings = firings.masked_fill(silent, 0)
            self._rows[tail].add(firings)

    def arrays(self) -> dict[str, np.ndarray]:
        """ "fires/<tail>": (r, N / 8) uint8, the tokens in the order of rows and positions."""
        return {f"fires/{tail}": rows.array for tail, rows in self._rows.items()}


class _Rows:
    """Rows of bytes that come a few at a time, in one array, on the device: nobody waits for a GPU.

    Left in arrays of their own they would lie between the large arrays of a forward pass, and the C
    heap, which then finds no room for the next ones, grew by half over a shard.
    """

    def __init__(self, width: int, device: torch.device | str) -> None:
        expected = RANDOM_TOKENS * 5 // 4  # seldom more, and no memory of a CPU's until it is used
        self._held = torch.empty(expected, width, dtype=torch.uint8, device=device)
        self._count = 0

    @property
    def array(self) -> np.ndarray:
        rows: np.ndarray = self._held[: self._count].cpu().numpy()
        return rows

    def add(self, rows: Tensor) -> None:
        end = self._count + len(rows)
        if end > len(self._held):
            grown = self._held.new_empty(max(end, 2 * len(self._held)), self._held.shape[1])
            grown[: self._count] = self._held[: self._count]
            self._held = grown
        self._held[self._count : end] = rows
        self._count = end


def unpack_firings(bits: np.ndarray, neurons: int) -> np.ndarray:
    """(R, neurons) bool from the bits of all shards, joined in their order."""
    return np.unpackbits(bits, axis=1, count=neurons).astype(bool)
