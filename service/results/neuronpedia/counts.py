"""How many tokens have which activation. Knows nothing of JSON."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Final

from polyseme.contract.files.results import MAGNITUDES, ZERO_BIN, histogram_edges

BARS: Final = 50

_EDGES: Final = histogram_edges()[ZERO_BIN + 1 :]  # of the positive bins


@dataclass(frozen=True)
class Counts:
    """How many tokens have which positive activation, as a neuron's histogram has it: linear within
    its bins.
    """

    top: float  # largest activation as it is exported, 0 when none is positive
    tokens: int  # all that count
    upto: Sequence[int]  # tokens above 0 and below each of the bins' edges
    scale: float = 1.0  # by which activations are multiplied for the export

    @classmethod
    def of(cls, neuron: Mapping[str, Any], scale: float = 1.0) -> Counts:
        positive = [0] * MAGNITUDES
        for place, count in enumerate(
            neuron["histogram"] or (), (neuron["histogram_first"] or 0) - ZERO_BIN - 1
        ):
            if place >= 0:
                positive[place] = count
        return cls(
            max(neuron["max"] or 0.0, 0.0) * scale,
            neuron["n_tokens"],
            list(accumulate(positive, initial=0)),
            scale,
        )

    def below(self, activation: float) -> float:
        """Tokens above 0 and at most so large, as it is exported."""
        if activation <= 0:
            return 0.0
        if activation >= self.top:
            return self.upto[-1]
        activation, top = activation / self.scale, self.top / self.scale
        place = min(bisect_right(_EDGES, activation), MAGNITUDES) - 1
        # The last bin has no upper end of its own.
        low, high = _EDGES[place], top
        if place < MAGNITUDES - 1:
            high = min(_EDGES[place + 1], high)
        inside = self.upto[place + 1] - self.upto[place]
        return self.upto[place] + inside * (activation - low) / (high - low)

    def share(self, low: float, high: float) -> float:
        """0..1, of all tokens that count: those above `low`, at most `high`."""
        return max(self.below(high) - self.below(low), 0.0) / self.tokens if self.tokens else 0.0

    def bars(self) -> tuple[list[int], list[float]]:
        """Heights and centres of BARS bars of equal width from 0 to the top; their sum is that of
        the histogram.
        """
        if self.top <= 0 or not self.upto[-1]:
            return [], []
        width = self.top / BARS
        edges = [round(self.below(width * i)) for i in range(BARS)] + [self.upto[-1]]
        heights = [b - a for a, b in pairwise(edges)]
        return heights, [width * (i + 0.5) for i in range(BARS)]
