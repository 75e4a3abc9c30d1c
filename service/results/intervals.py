"""Differences between two groups, with 95 % intervals.

Knows no result: counts and scores in, numbers out. Nothing is drawn at random, so the same groups
give the same ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import Final

FEWEST: Final = 10  # values of a group, below which no interval of its median is given

_NORMAL: Final = NormalDist()
_Z: Final = _NORMAL.inv_cdf(0.975)


@dataclass(frozen=True)
class Difference:
    difference: float  # the first group's number less the second's
    low: float  # ends of its 95 % interval
    high: float

    @property
    def is_sure(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def wilson_interval(count: int, of: int) -> tuple[float, float]:
    """Of a share, without a correction for continuity. of: > 0.

    Source: Wilson 1927.
    """
    share, z2 = count / of, _Z * _Z
    middle = share + z2 / (2 * of)
    reach = _Z * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    low, high = (middle - reach) / (1 + z2 / of), (middle + reach) / (1 + z2 / of)
    # Rounding must not put an end on the wrong side of a share of 0 or 1.
    return min(max(low, 0.0), share), max(min(high, 1.0), share)


def compare_shares(first: tuple[int, int], second: tuple[int, int]) -> Difference | None:
    """Of two shares of different units, each as (count, of); None where either is of none.

    Source: Newcombe 1998 (Statistics in Medicine 17:873), method 10: the Wilson intervals of the
    two, squared and added.
    """
    if not first[1] or not second[1]:
        return None
    share, other = first[0] / first[1], second[0] / second[1]
    (low, high), (other_low, other_high) = wilson_interval(*first), wilson_interval(*second)
    difference = share - other
    return Difference(
        difference,
        difference - math.hypot(share - low, other_high - other),
        difference + math.hypot(high - share, other - other_low),
    )


def compare_medians(first: Sequence[float], second: Sequence[float]) -> Difference | None:
    """Of two medians, of whatever distribution; values ascending, of different units.

    None where either group has fewer than `FEWEST`. Source: Price and Bonett 2002 (J. Stat. Comput.
    Simul. 72:119): the variance of each median from two of its order statistics.
    """
    if min(len(first), len(second)) < FEWEST:
        return None
    difference = median(first) - median(second)
    reach = _Z * math.hypot(_median_error(first), _median_error(second))
    return Difference(difference, difference - reach, difference + reach)


def _median_error(values: Sequence[float]) -> float:
    """The standard error of the median of ascending values.

    Source: Price and Bonett 2001 (J. Stat. Comput. Simul. 68:295).
    """
    n = len(values)
    place = max(round((n + 1) / 2 - math.sqrt(n)), 1)  # from 1
    z = -_NORMAL.inv_cdf(_binomial_below(place, n))
    return (values[n - place] - values[place - 1]) / (2 * z)


def _binomial_below(place: int, n: int) -> float:
    """The chance that of n tosses of a fair coin fewer than `place` are heads."""
    k = place - 1
    logarithm = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2)
    term, total = math.exp(logarithm), 0.0
    while term > total * 1e-17:
        total += term
        term *= k / (n - k + 1)
        k -= 1
    return total
