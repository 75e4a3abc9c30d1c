"""Moments of many neurons at once, to kurtosis, whose sums come out the same in any order of
addition.

Each addend, a float64, is cut into integer digits of 32 bits; the digits are summed as integers. So
two halves of a corpus, added in whatever order by however many workers, give the same bits.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_DIGIT_BITS = 32
_HIGHEST = 3  # the digit of 2**96 to 2**128; a sum may reach 2**(128 + 31)
_DIGITS = 8  # the lowest is 2**-128
WEIGHTS = 2.0 ** (_DIGIT_BITS * (_HIGHEST - np.arange(_DIGITS)))  # of each digit
POWERS = 4


class Moments:
    """Sums of the first four powers of each neuron's activations."""

    def __init__(self, neurons: int, device: torch.device | str = "cpu") -> None:
        self.count = 0
        self.digits = torch.zeros(_DIGITS, POWERS, neurons, dtype=torch.int64, device=device)

    def update(self, activations: Tensor) -> None:
        """activations: (T, N) float32, the counted tokens of a block, summed in float32: right to
        about 1e-6.
        """
        square = activations * activations
        sums = [
            activations.sum(0),
            square.sum(0),
            (square * activations).sum(0),
            (square * square).sum(0),
        ]
        self.add(len(activations), torch.stack(sums).double())

    def add(self, count: int, addend: Tensor) -> None:
        """Adds a block's own sums, (POWERS, N) float64.

        Exact, but for what lies below the lowest digit.
        """
        self.count += count
        for i, weight in enumerate(WEIGHTS.tolist()):
            digit = torch.trunc(addend / weight)
            self.digits[i] += digit.to(torch.int64)
            addend = addend - digit * weight

    def merge(self, count: int, digits: Tensor) -> None:
        self.count += count
        self.digits += digits

    def compute(self) -> dict[str, np.ndarray]:
        """mean, std (population), skewness, kurtosis (excess), each (N,) float64; the last two NaN
        where std is 0.

        They come from raw power sums, so they lose about (mean / std)**2 times 1e-6 of their
        precision.
        """
        weights = torch.from_numpy(WEIGHTS)
        sums = (self.digits.cpu().double() * weights[:, None, None]).flip(0).sum(0).numpy()
        m1, m2, m3, m4 = sums / max(self.count, 1)
        variance = m2 - m1**2
        # What is left of a constant by rounding is no spread.
        variance = np.where(variance > 1e-6 * m2, variance, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            skewness = (m3 - 3 * m1 * m2 + 2 * m1**3) / variance**1.5
            kurtosis = (m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4) / variance**2 - 3
        spread = variance > 0
        return {
            "mean": m1,
            "std": np.sqrt(variance),
            "skewness": np.where(spread, skewness, np.nan),
            "kurtosis": np.where(spread, kurtosis, np.nan),
        }
