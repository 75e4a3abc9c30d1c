"""Whether a sense will come again in other documents: predicted from what is known of it here.

`python -m benchmarks halves --fit` fits the coefficients on two halves of a text;
benchmarks/senses/RESULTS.md has how well they hold on other units and texts.
"""

from __future__ import annotations

import numpy as np

# Of: 1, ln share, ln size, mean chance within, ln words.
COEFFICIENTS = (-3.80, 0.89, 2.69, 2.27, -0.38)


def predict_replication(**senses: np.ndarray) -> np.ndarray:
    """The chance that a sense comes again, (M,) float64. senses: as `make_columns` takes them."""
    chance: np.ndarray = 1.0 / (1.0 + np.exp(-make_columns(**senses) @ np.array(COEFFICIENTS)))
    return chance


def make_columns(
    *,
    share: np.ndarray,
    size: np.ndarray,
    within: np.ndarray,
    words: np.ndarray,
) -> np.ndarray:
    """What the coefficients are of, (M, 5) float64.

    share: its part of the activation of all contexts, 0 to 1; size: its contexts; within: the mean
    chance that two of them mean the same; words: different ones at its peaks.
    """
    features = (
        np.ones(len(share)),
        np.log(np.maximum(share, 1e-6)),
        np.log(np.maximum(size, 1)),
        np.nan_to_num(within),
        np.log(np.maximum(words, 1)),
    )
    columns: np.ndarray = np.stack(features, 1)
    return columns
