"""`senses.alpha`, which requests had before `senses.same_at`."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

# alpha, and the same_at that gives about as many senses.
_SAME_AT: Final = (
    (0.001, 0.80),
    (0.005, 0.70),
    (0.01, 0.60),
    (0.02, 0.50),
    (0.05, 0.35),
    (0.1, 0.25),
    (0.2, 0.15),
    (0.5, 0.05),
)


def same_at_of(alpha: float) -> float:
    """Between two rows of the table by the logarithm of alpha, to four places; beyond its ends as
    at them.
    """
    for (low, first), (high, second) in pairwise(_SAME_AT):
        if alpha <= high:
            share = math.log(max(alpha, low) / low) / math.log(high / low)
            return round(first + share * (second - first), 4)
    return _SAME_AT[-1][1]
