"""The largest and the smallest activation of each neuron in each window of a block."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.scan.statistics.context_lists import SIGN


@dataclass(frozen=True, eq=False)
class Extremes:
    """Of each neuron in each window, over the counted tokens: the largest and smallest activation,
    and where first.
    """

    high: Tensor  # (B, N) float32
    high_at: Tensor  # (B, N) integers
    low: Tensor
    low_at: Tensor

    def of(self, tail: Tail) -> tuple[Tensor, Tensor]:
        """The extremes that are a tail's peaks, with their own sign, and where they are."""
        return (self.high, self.high_at) if tail == "positive" else (self.low, self.low_at)


def find_extremes(block: Block, activations: Tensor) -> Extremes:
    """activations: (B, S, N). NaN in `high` and `low` where a counted activation is NaN."""
    for_high = _without_uncounted(block, activations, "positive")
    for_low = _without_uncounted(block, activations, "negative")
    # argmax and argmin give the first place of several; amax and amin would not.
    return Extremes(for_high.amax(1), for_high.argmax(1), for_low.amin(1), for_low.argmin(1))


def find_peaks(block: Block, activations: Tensor, tail: Tail) -> Tensor:
    """The largest sign * activation among each window's counted tokens, (B, N). activations: (B, S,
    N).
    """
    counted = _without_uncounted(block, activations, tail)
    return counted.amax(1) if tail == "positive" else -counted.amin(1)


def _without_uncounted(block: Block, activations: Tensor, tail: Tail) -> Tensor:
    """The activations with those that do not count where no peak of the tail can be."""
    if block.uncounted is None:
        return activations
    return activations.masked_fill(block.uncounted[:, :, None], -SIGN[tail] * torch.inf)
