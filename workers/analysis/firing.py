"""On which of the corpus' random tokens each neuron fires: what a sense must predict to be more than a pattern."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from contract.request import Tail

FIRES = 0.2  # of the largest peak in the calibration windows: a neuron fires above it


def firing_threshold(peaks: np.ndarray) -> np.ndarray:
    """(N,) float32; infinite for a neuron that no calibration window moves. peaks: (W, N)."""
    most = peaks.max(0)
    return np.where(most > 0, FIRES * most, np.inf).astype(np.float32)


class FiringSample:
    """Collects one layer's firings, a bit each."""

    def __init__(self, thresholds: Mapping[Tail, np.ndarray], device: torch.device | str) -> None:
        """thresholds: (N,) of each tail."""
        self._thresholds = {tail: torch.from_numpy(t).to(device) for tail, t in thresholds.items()}
        self._bits: dict[Tail, list[np.ndarray]] = {tail: [] for tail in thresholds}

    def update(self, index: Tensor, activations: Tensor) -> None:
        """index: (r,) of the block's random tokens among its B * S; activations: (B, S, N)."""
        chosen = activations.flatten(0, 1).index_select(0, index)  # (r, N)
        for tail, threshold in self._thresholds.items():
            fires = (chosen if tail == "positive" else -chosen) > threshold
            self._bits[tail].append(np.packbits(fires.cpu().numpy(), axis=1))

    def arrays(self) -> dict[str, np.ndarray]:
        """ "fires/<tail>": (r, N / 8) uint8, the tokens in the order of rows and positions."""
        return {f"fires/{tail}": np.concatenate(bits) for tail, bits in self._bits.items()}


def unpack_firings(bits: np.ndarray, neurons: int) -> np.ndarray:
    """(R, neurons) bool from the bits of all shards, joined in their order."""
    return np.unpackbits(bits, axis=1, count=neurons).astype(bool)
