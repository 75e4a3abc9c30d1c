"""Statistics of one layer's neurons: moments, histogram and extremes over counted tokens."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from polyseme.contract.errors import NonFiniteActivation
from polyseme.workers.analysis.scan.statistics.histogram import Histogram
from polyseme.workers.analysis.scan.statistics.moments import Moments

NOT_FINITE = "an activation is not finite: try another dtype for this model"


class LayerStatistics:
    def __init__(self, neurons: int, device: torch.device | str = "cpu") -> None:
        self.moments = Moments(neurons, device)
        self.histogram = Histogram(neurons, device)
        self.low = torch.full((neurons,), torch.inf, device=device)
        self.high = torch.full((neurons,), -torch.inf, device=device)
        # 1 once an activation was not finite; only kernels that wait for nothing use it.
        self.saw_nonfinite = torch.zeros(1, dtype=torch.int32, device=device)

    def arrays(self) -> dict[str, np.ndarray]:
        """Raises NonFiniteActivation if kernels that wait for nothing saw one."""
        if self.saw_nonfinite.item():
            raise NonFiniteActivation(NOT_FINITE)
        return {
            "count": np.array([self.moments.count]),
            "digits": self.moments.digits.cpu().numpy(),
            "histogram": self.histogram.array(),
            "low": self.low.cpu().numpy(),
            "high": self.high.cpu().numpy(),
        }

    def merge(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.moments.merge(int(arrays["count"][0]), torch.from_numpy(arrays["digits"]))
        self.histogram.merge(arrays["histogram"])
        self.low = self.low.minimum(torch.from_numpy(arrays["low"]))
        self.high = self.high.maximum(torch.from_numpy(arrays["high"]))


def require_finite(*found: Tensor) -> None:
    """Raises NonFiniteActivation unless all are finite, as sums and extremes of finite activations
    are.
    """
    if not all(bool(torch.isfinite(values).all()) for values in found):
        raise NonFiniteActivation(NOT_FINITE)
