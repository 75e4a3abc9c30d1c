"""Moments of many neurons at once, to kurtosis, whose sums come out the same in any order of
addition.

Each addend, a float64, is cut into integer digits of 32 bits; the digits are summed as integers. So
two halves of a corpus, added in whatever order by however many workers, give the same bits. There
are digits for the powers of every finite float32, from the smallest to the largest.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

POWERS = 4
DIGIT_BITS = 32
ADDEND_DIGITS = 3  # that the 53 bits of a float64 may touch
# The k-th power of a float32 is below 2**(128 k), and above 2**(-149 k), with 53 bits from there.
HIGHEST = np.array([4 * power for power in range(1, POWERS + 1)])  # digit of each power
LOWEST = np.array([-5 * power - 1 for power in range(1, POWERS + 1)])
# Digits lie in rows, those of a power together, highest first: row TOP[power] - d is digit d.
_COUNTS = HIGHEST - LOWEST + 1
TOP = np.concatenate([[0], np.cumsum(_COUNTS)[:-1]]) + HIGHEST
ROWS = int(_COUNTS.sum())
_DIGITS = [np.arange(HIGHEST[i], LOWEST[i] - 1, -1.0) for i in range(POWERS)]
WEIGHTS = 2.0 ** (DIGIT_BITS * np.concatenate(_DIGITS))  # of each row


class Moments:
    """Sums of the first four powers of each neuron's activations."""

    def __init__(self, neurons: int, device: torch.device | str = "cpu") -> None:
        self.count = 0
        self.digits = _zeros(neurons, torch.device(device))  # (ROWS, N) int64

    def update(self, activations: Tensor) -> None:
        """activations: (T, N) float32, the counted tokens of a block, summed in float32: right to
        about 1e-6. Neurons with one that is not finite are passed over.
        """
        if not len(activations):
            return
        # To about 1, so that no power is too large or too small.
        exponent = torch.frexp(activations.abs().amax(0)).exponent  # (N,)
        exponent = exponent.to(torch.int64).clamp(-126, 126)
        near_one = activations * _two_to(-exponent).float()
        square = near_one * near_one
        sums = torch.stack(
            [
                near_one.sum(0),
                square.sum(0),
                (square * near_one).sum(0),
                (square * square).sum(0),
            ]
        )
        powers = torch.arange(1, POWERS + 1, device=sums.device)
        self.add(len(activations), sums.double() * _two_to(powers[:, None] * exponent))

    def add(self, count: int, addend: Tensor) -> None:
        """Adds a block's own sums, (POWERS, N) float64. Exact; one that is not finite adds
        nothing.
        """
        self.count += count
        addend = addend.where(addend.isfinite(), 0.0)
        weights = torch.from_numpy(WEIGHTS).to(addend.device)
        for power, rest in enumerate(addend):
            # The largest digit that is not 0. (N,)
            digit = (torch.frexp(rest).exponent.to(torch.int64) - 1) // DIGIT_BITS
            digit = digit.clamp(int(LOWEST[power]) + ADDEND_DIGITS - 1, int(HIGHEST[power]))
            row = int(TOP[power]) - digit
            for _ in range(ADDEND_DIGITS):
                whole = torch.trunc(rest / weights[row])
                self.digits.scatter_add_(0, row[None], whole.to(torch.int64)[None])
                rest = rest - whole * weights[row]
                row = row + 1

    def arrays(self) -> dict[str, np.ndarray]:
        """For a file: "rows" (R,) int32, those of the digits that are not all 0, and "digits" (R,
        N) int64.
        """
        rows = self.digits.any(1).nonzero().squeeze(1)
        digits = self.digits.index_select(0, rows)
        return {"rows": rows.to(torch.int32).cpu().numpy(), "digits": digits.cpu().numpy()}

    def merge(self, count: int, arrays: Mapping[str, np.ndarray]) -> None:
        self.count += count
        rows = torch.from_numpy(arrays["rows"].astype(np.int64))
        self.digits.index_add_(0, rows, torch.from_numpy(arrays["digits"]))

    def compute(self) -> dict[str, np.ndarray]:
        """mean, std (population), skewness, kurtosis (excess), each (N,) float64; the last two NaN
        where std is 0.

        They come from raw power sums, so they lose about (mean / std)**2 times 1e-6 of their
        precision.
        """
        m1, m2, m3, m4 = self._sums() / max(self.count, 1)
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

    def _sums(self) -> np.ndarray:
        """(POWERS, N) float64, from the lowest digits up."""
        digits, first = self.digits.cpu().numpy(), TOP - HIGHEST
        sums = np.zeros((POWERS, digits.shape[1]))
        for power in range(POWERS):
            for row in reversed(range(first[power], first[power] + _COUNTS[power])):
                sums[power] += digits[row] * WEIGHTS[row]
        return sums


def _two_to(exponent: Tensor) -> Tensor:
    """The powers of two, exact: `torch.ldexp` makes them in float32. exponent: int64, -1022 to
    1023.
    """
    return (exponent + 1023 << 52).view(torch.float64)


def _zeros(neurons: int, device: torch.device) -> Tensor:
    if device.type != "cpu":
        return torch.zeros(ROWS, neurons, dtype=torch.int64, device=device)
    # numpy's take memory only where they are written: most digits never are.
    return torch.from_numpy(np.zeros((ROWS, neurons), np.int64))
