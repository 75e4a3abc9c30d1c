"""Logistic regression, and how far chances are from what came true.

Arrays in, arrays and numbers out.
"""

from __future__ import annotations

import numpy as np

RIDGE = 1e-3  # keeps coefficients of columns that do not vary at 0
_STEPS = 60
_BINS = 15


def logistic(logit: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 / (1.0 + np.exp(-logit)))


def fit_logistic(columns: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Coefficients of the columns (n, K), by Newton's steps. outcome: (n,) bool."""
    found = np.zeros(columns.shape[1])
    for _ in range(_STEPS):
        chance = logistic(columns @ found)
        slope = columns.T @ (outcome - chance) - RIDGE * found
        weighted = columns * (chance * (1 - chance))[:, None]
        step = np.linalg.solve(columns.T @ weighted + RIDGE * np.eye(len(found)), slope)
        found += step
        if np.abs(step).max() < 1e-8:
            break
    return found


def calibration_error(chance: np.ndarray, outcome: np.ndarray) -> float:
    """The expected calibration error over bins of about equally many; NaN without any.

    Source: Naeini, Cooper and Hauskrecht 2015.
    """
    order = np.argsort(chance, kind="stable")
    bins = [part for part in np.array_split(order, _BINS) if len(part)]
    if not bins:
        return float("nan")
    gaps = [abs(chance[b].mean() - outcome[b].mean()) * len(b) for b in bins]
    return float(sum(gaps) / len(chance))
