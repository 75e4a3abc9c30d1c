"""Sampling by activation: each window enters with a priority a / u, and a list keeps the largest.

a is the peak of the unit in the window, u a number in (0, 1] that the unit, the tail and the window
alone decide. Windows then enter in proportion to their activation as far as the list has room, and
a sample does not depend on how the work was shared out. Peaks below the unit's firing threshold
come behind all others, in the same order among themselves.

Source: Duffield, Lund and Thorup 2007, "Priority sampling for estimation of arbitrary subset sums";
u is number w of the generator splitmix64 (Steele, Lea and Flood 2014) with the unit's own seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.scan.statistics.top_lists import EMPTY, encode_samples

# Of splitmix64, as int64.
GAMMA = 0x9E37_79B9_7F4A_7C15 - (1 << 64)
FIRST = 0xBF58_476D_1CE4_E5B9 - (1 << 64)
SECOND = 0x94D0_49BB_1331_11EB - (1 << 64)
MASK_30, MASK_27, MASK_31 = (1 << 34) - 1, (1 << 37) - 1, (1 << 33) - 1
# u has 24 bits: as many as a float32 has exactly.
LOW_24, STEP = (1 << 24) - 1, 2.0**-24
BEHIND = 1 << 31  # taken from the priority of what does not fire


@dataclass(frozen=True, eq=False)
class Draws:
    """Of the sample by activation of N units' one tail."""

    seeds: np.ndarray  # (N,) int64
    fires: np.ndarray  # (N,) float32, sign * activation above which a unit fires


def unit_seeds(layer: int, units: np.ndarray, tail: Tail, kind: int = 0) -> np.ndarray:
    """(N,) int64, different for each.

    units: (N,) their numbers in the layer; kind: of unit, 0 for the model's own.
    """
    key = units.astype(np.int64) << 1 | int(tail == "negative")
    key = key | layer << 40 | kind << 56
    return _mix(torch.from_numpy(key) * GAMMA).numpy()


def draw_keys(peaks: Tensor, numbers: Tensor, seeds: Tensor, fires: Tensor) -> Tensor:
    """The keys of each window in each unit's list, (B, N) int64; EMPTY for a peak that is not
    positive.

    peaks: (B, N) float32; numbers: (B,) int64, of the windows.
    """
    mixed = _mix(seeds + (numbers[:, None] + 1) * GAMMA)
    share = (((mixed >> 40) & LOW_24) + 1).to(torch.float32) * STEP
    bits = (peaks / share).view(torch.int32).to(torch.int64)
    priority = torch.where(peaks > fires, bits, bits - BEHIND)
    return torch.where(peaks > 0, encode_samples(priority, numbers[:, None]), EMPTY)


def _mix(state: Tensor) -> Tensor:
    """The output function of splitmix64."""
    state = (state ^ ((state >> 30) & MASK_30)) * FIRST
    state = (state ^ ((state >> 27) & MASK_27)) * SECOND
    return state ^ ((state >> 31) & MASK_31)
