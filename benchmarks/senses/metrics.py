"""How far labels found agree with labels known, and how sure a mean over units is.

Arrays in, numbers out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

NONE = -1  # a context in no group; each counts as a group of its own


def alone(labels: np.ndarray) -> np.ndarray:
    """Labels in which every context without a group has a group of its own."""
    outside = labels < 0
    return np.where(outside, labels.max(initial=0) + np.cumsum(outside), labels)


def contingency(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(T, F) contexts in common, NONE taken apart by `alone`."""
    _, rows = np.unique(alone(truth), return_inverse=True)
    _, columns = np.unique(alone(found), return_inverse=True)
    table = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(table, (rows, columns), 1)
    return table


def adjusted_rand(truth: np.ndarray, found: np.ndarray) -> float:
    """1 the same grouping, 0 what chance gives; 1 when both are one group, or both all alone.

    Source: Hubert and Arabie 1985.
    """
    table = contingency(truth, found)
    together, rows, columns = (_pairs(x).sum() for x in (table, table.sum(1), table.sum(0)))
    chance = rows * columns / max(_pairs(table.sum()), 1.0)
    most = (rows + columns) / 2
    return 1.0 if most == chance else float((together - chance) / (most - chance))


def _pairs(counts: np.ndarray) -> np.ndarray:
    return np.asarray(counts * (counts - 1) / 2)


def v_measure(truth: np.ndarray, found: np.ndarray) -> float:
    """Harmonic mean of homogeneity and completeness, 0..1.

    Source: Rosenberg and Hirschberg 2007.
    """
    table = contingency(truth, found)
    shared = _entropy(table.sum(1)) + _entropy(table.sum(0)) - _entropy(table.ravel())
    homogeneity, completeness = (
        shared / entropy if (entropy := _entropy(table.sum(axis))) > 1e-12 else 1.0
        for axis in (1, 0)
    )
    total = homogeneity + completeness
    return float(2 * homogeneity * completeness / total) if total > 1e-12 else 0.0


def _entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def b_cubed(truth: np.ndarray, found: np.ndarray) -> float:
    """F1 of the mean precision and recall of each context's group, 0..1.

    Source: Bagga and Baldwin 1998.
    """
    table = contingency(truth, found)
    squares, total = table**2, table.sum()
    precision = (squares / table.sum(0)).sum() / total
    recall = (squares / table.sum(1)[:, None]).sum() / total
    return float(2 * precision * recall / (precision + recall))


def auroc(high: np.ndarray, low: np.ndarray) -> float:
    """The chance that one of `high` is above one of `low`, ties half; NaN when either is empty."""
    if not len(high) or not len(low):
        return float("nan")
    ranks = mean_ranks(np.concatenate([high, low]))[: len(high)]
    return float((ranks.sum() - len(high) * (len(high) - 1) / 2) / (len(high) * len(low)))


def rank_correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's; NaN when one does not vary."""
    ranks = [mean_ranks(np.asarray(x)) for x in (a, b)]
    if any(r.std() == 0 for r in ranks):
        return float("nan")
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """From 0, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts + 1) / 2)[inverse])


def interval(
    statistic: Callable[[np.ndarray], float],
    units: int,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap over units. statistic: of the drawn units' numbers, (units,) int64; its
    NaN is left out.
    """
    if units == 0:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    found = np.array([statistic(rng.integers(0, units, units)) for _ in range(draws)])
    found = found[~np.isnan(found)]
    if not len(found):
        return float("nan"), float("nan")
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
