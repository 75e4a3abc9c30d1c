"""How seldom units are active, and where control units must be cut off to be as seldom active."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from polyseme.workers.analysis.scan.statistics.block import Block

FEWEST = 10  # active tokens from which a unit's share is known: as many as it needs to be scored


class Sparsity:
    """Of one layer, over the counted tokens of some blocks."""

    def __init__(self, units: int) -> None:
        self._active = np.zeros(units, np.int64)
        self._values: list[np.ndarray] = []

    def note_units(self, block: Block, activations: Tensor) -> None:
        """activations: (B, S, N)."""
        active = (activations > 0) & block.counted[:, :, None]
        self._active += active.sum((0, 1)).cpu().numpy()

    def note_controls(self, block: Block, activations: Tensor) -> None:
        """activations: (B, S, G), before they are cut off."""
        self._values.append(activations[block.counted].float().cpu().numpy())

    def arrays(self) -> dict[str, np.ndarray]:
        """ "active" (N,) int64, tokens; "values" (T, G) float32."""
        return {"active": self._active, "values": np.concatenate(self._values)}


def join_parts(parts: Sequence[Mapping[str, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """ "active" and "values" of all parts."""
    active = np.sum([part["active"] for part in parts], axis=0)
    return active, np.concatenate([part["values"] for part in parts])


def find_cuts(values: np.ndarray, active: np.ndarray) -> np.ndarray:
    """Above what each control unit is active at as many tokens as its model, (G,) float32.

    values: (T, G); active: (G,) tokens of each one's model, at most T - 1. NaN where a value is.
    """
    ordered = -np.sort(-values, axis=0)
    at = np.clip(active, 0, len(values) - 1)
    return np.take_along_axis(ordered, at[None], 0)[0].astype(np.float32)
