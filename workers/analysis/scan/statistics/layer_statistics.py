"""Statistics of one layer's neurons: moments, histogram and extremes over counted tokens."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from polyseme.workers.analysis.scan.statistics.histogram import Histogram
from polyseme.workers.analysis.scan.statistics.moments import Moments


class LayerStatistics:
    """Of a neuron with an activation that is not finite, only `nonfinite` has a meaning."""

    def __init__(self, neurons: int, device: torch.device | str = "cpu") -> None:
        self.moments = Moments(neurons, device)
        self.histogram = Histogram(neurons, device)
        self.low = torch.full((neurons,), torch.inf, device=device)
        self.high = torch.full((neurons,), -torch.inf, device=device)
        # 1 once an activation was NaN or infinite. Of integers, as a GPU's programs set it.
        self.nonfinite = torch.zeros(neurons, dtype=torch.int32, device=device)

    def note_nonfinite(self, found: Tensor) -> None:
        """found: (R, N), of each neuron numbers that are finite where all its activations are."""
        finite = found.isfinite()
        if not finite.all():
            self.nonfinite |= (~finite.all(0)).to(torch.int32)

    def arrays(self) -> dict[str, np.ndarray]:
        return {
            "count": np.array([self.moments.count]),
            **self.moments.arrays(),
            "histogram": self.histogram.array(),
            "low": self.low.cpu().numpy(),
            "high": self.high.cpu().numpy(),
            "nonfinite": self.nonfinite.cpu().numpy().astype(bool),
        }

    def merge(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.moments.merge(int(arrays["count"][0]), arrays)
        self.histogram.merge(arrays["histogram"])
        self.low = self.low.minimum(torch.from_numpy(arrays["low"]))
        self.high = self.high.maximum(torch.from_numpy(arrays["high"]))
        self.nonfinite |= torch.from_numpy(arrays["nonfinite"].astype(np.int32))
