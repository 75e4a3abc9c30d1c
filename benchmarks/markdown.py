"""Tables in Markdown, and the statistics in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The first column is text, the others numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def quartiles(values: Iterable[float]) -> tuple[float, float, float]:
    """The lower one, the median and the upper one, as `quantile` has them."""
    ordered = sorted(values)
    return quantile(ordered, 0.25), quantile(ordered, 0.5), quantile(ordered, 0.75)


def quantile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least this share (0..1) of the values do not exceed.

    NaN without values.
    """
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1] if ordered else math.nan
