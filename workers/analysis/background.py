"""What is usual in a corpus: random tokens, against which every distance between contexts is read.

Fitted once a job from tokens drawn by a fixed hash, so it does not depend on how the work was shared out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.analysis.plan import window_priority
from workers.analysis.windows import Windows

RANDOM_TOKENS = 2_300  # expected; 2,000 are wanted, and the number drawn varies by about 48
NEAR = 16  # tokens kept on each side of a random one, to tell which word it belongs to
_PAIRS = 250_000
# Fine where a threshold may lie, coarse above.
_LEVELS = np.unique(np.concatenate([np.linspace(0, 0.2, 401), np.linspace(0.2, 1, 161)]))


def is_random_token(numbers: np.ndarray, positions: np.ndarray, counted_tokens: int) -> np.ndarray:
    """Whether each token, by its window's number and its position, is in the sample. Broadcasts; bool.

    counted_tokens: of the corpus; with fewer than RANDOM_TOKENS, all are in.
    """
    share = min(RANDOM_TOKENS / max(counted_tokens, 1), 1.0)
    mixed = window_priority(numbers.astype(np.int64) * 65_537 + positions)
    return np.asarray(mixed < share * 2.0**31)


def find_random_tokens(windows: Windows, first_row: int, counted_tokens: int) -> dict[str, np.ndarray]:
    """The counted random tokens of some windows, by row and position: `row`, `window`, `position` (r,) and `near`.

    near: (r, 2 * NEAR + 1) int32, the tokens around each, itself in the middle; -1 outside of the window.
    """
    owner = np.repeat(np.arange(len(windows)), windows.lengths)
    position = np.arange(len(windows.ids)) - windows.offsets[owner]
    drawn = windows.counted & is_random_token(windows.number[owner], position, counted_tokens)
    at, own = np.flatnonzero(drawn), owner[drawn]
    places = at[:, None] + np.arange(-NEAR, NEAR + 1)
    inside = (places >= windows.offsets[own, None]) & (places < windows.offsets[own + 1, None])
    return {
        "row": first_row + own,
        "window": windows.number[own],
        "position": position[at],
        "near": np.where(inside, windows.ids[places.clip(0, len(windows.ids) - 1)], -1),
    }


def to_unit(vectors: np.ndarray) -> np.ndarray:
    """Each row divided by its length; a row of zeros stays so. float32."""
    length = np.sqrt(np.einsum("ud,ud->u", vectors, vectors, dtype=np.float64))
    return (vectors / np.maximum(length, 1e-12)[:, None]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Scale:
    """Distances as quantiles of the distances between random tokens, so that they mean the same for every model."""

    distances: np.ndarray  # (Q,) float64 ascending, the quantile at each of _LEVELS

    @classmethod
    def of(cls, vectors: np.ndarray) -> Scale:
        """vectors: (R, P) unit length. Over at most _PAIRS pairs, always the same ones."""
        a, b = _pairs(len(vectors))
        found = [
            1.0 - np.einsum("ud,ud->u", vectors[x], vectors[y], dtype=np.float64)
            for x, y in zip(np.array_split(a, 64), np.array_split(b, 64), strict=True)
        ]
        return cls(np.quantile(np.concatenate(found), _LEVELS))

    def read(self, distances: np.ndarray) -> np.ndarray:
        """0..1 for each cosine distance; NaN stays NaN."""
        return np.interp(distances, self.distances, _LEVELS)

    def distance(self, quantile: float) -> float:
        """The cosine distance at a quantile."""
        return float(np.interp(quantile, _LEVELS, self.distances))


def _pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of different numbers below `count`: each with those 1, 2, 3, … further on, until there are enough."""
    steps = min(-(-_PAIRS // max(count, 1)), (count - 1) // 2)
    if steps < 1:
        return np.arange(count - 1), np.arange(1, count)
    first = np.tile(np.arange(count), steps)
    return first, (first + np.repeat(np.arange(1, steps + 1), count)) % count


SHRINKAGE = 0.3  # of the spectrum towards its mean: with few random tokens its lower end is noise
POWER = 0.35  # of each variance that is divided out; 0.5 would make all directions equal


@dataclass(frozen=True, eq=False)
class Whitening:
    """Evens out how much each direction varies among random tokens, so that no few of them decide every cosine.

    For vectors of K parts of D dimensions each, one part after another, with equal say.
    """

    mean: np.ndarray  # (K, D) float32
    maps: np.ndarray  # (K, D, D) float32

    @classmethod
    def of(cls, vectors: np.ndarray, parts: int = 1) -> Whitening:
        """vectors: (R, parts * D), of random tokens. Source: ZCA with a shrunk spectrum (Ledoit and Wolf 2004)."""
        wide = vectors.astype(np.float64).reshape(len(vectors), parts, -1)
        mean = wide.mean(0)
        maps = [_whitening_map(wide[:, k] - mean[k]) for k in range(parts)]
        return cls(mean.astype(np.float32), np.stack(maps).astype(np.float32))

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """(U, K * D) to unit vectors of as many dimensions, float32."""
        parts = len(self.mean)
        split = vectors.astype(np.float32).reshape(len(vectors), parts, -1)
        found = [to_unit((split[:, k] - self.mean[k]) @ self.maps[k]) for k in range(parts)]
        return np.concatenate(found, axis=1) * np.float32(parts**-0.5)


def _whitening_map(centred: np.ndarray) -> np.ndarray:
    """centred: (R, D). Returns (D, D)."""
    variance, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    variance = (1 - SHRINKAGE) * variance.clip(0) + SHRINKAGE * variance.mean()
    # Where nothing varies there is nothing to even out.
    scale = np.where(variance > 0, variance, 1.0) ** -POWER
    whitening: np.ndarray = directions * scale
    return whitening
