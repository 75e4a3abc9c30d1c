"""What is usual in a corpus: random tokens, against which every distance between contexts is read.

Fitted once a job from tokens drawn by a fixed hash, so it does not depend on how the work was
shared out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyseme.workers.analysis.contexts.peak_places import PlaceTexts, read_places
from polyseme.workers.analysis.corpus.plan import window_priority
from polyseme.workers.analysis.corpus.windows import Windows

RANDOM_TOKENS = 2_300  # expected; 2,000 are wanted, and the number drawn varies by about 48
_PAIRS = 250_000
_PIECE = 8192  # pairs whose vectors are in memory at once
_ROWS = 4096


def is_random_token(numbers: np.ndarray, positions: np.ndarray, counted_tokens: int) -> np.ndarray:
    """Whether each token, by its window's number and its position, is in the sample.

    Broadcasts; bool.

    counted_tokens: of the corpus; with fewer than RANDOM_TOKENS, all are in.
    """
    share = min(RANDOM_TOKENS / max(counted_tokens, 1), 1.0)
    mixed = window_priority(numbers.astype(np.int64) * 65_537 + positions)
    return np.asarray(mixed < share * 2.0**31)


def draw_tokens(windows: Windows, counted_tokens: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The counted random tokens of some windows: their places among all tokens, windows among
    these, and positions.
    """
    owner = np.repeat(np.arange(len(windows)), windows.lengths)
    position = np.arange(len(windows.ids)) - windows.offsets[owner]
    at = np.flatnonzero(
        windows.counted & is_random_token(windows.number[owner], position, counted_tokens)
    )
    return at, owner[at], position[at]


def find_random_tokens(
    windows: Windows, first_row: int, counted_tokens: int, full: int
) -> tuple[dict[str, np.ndarray], PlaceTexts]:
    """The counted random tokens of some windows, by row and position: `row`, `window`, `position`
    (r,); and what stands there. full: tokens of the longest window.
    """
    _, own, position = draw_tokens(windows, counted_tokens)
    number = windows.number[own]
    places = {"row": first_row + own, "window": number, "position": position}
    return places, read_places(windows, number, position, full)


def to_unit(vectors: np.ndarray) -> np.ndarray:
    """Each row divided by its length; a row of zeros stays so. float32, and float64 for some rows
    at a time.
    """
    unit = np.empty(vectors.shape, np.float32)
    for first in range(0, len(vectors), _ROWS):
        rows = vectors[first : first + _ROWS]
        length = np.sqrt(np.einsum("ud,ud->u", rows, rows, dtype=np.float64))
        unit[first : first + _ROWS] = rows / np.maximum(length, 1e-12)[:, None]
    return unit


def random_pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of different numbers below `count`: each with those 1, 2, 3, … further on, until there
    are enough.
    """
    steps = min(-(-_PAIRS // max(count, 1)), (count - 1) // 2)
    if steps < 1:
        return np.arange(count - 1), np.arange(1, count)
    first = np.tile(np.arange(count), steps)
    return first, (first + np.repeat(np.arange(1, steps + 1), count)) % count


def pair_products(rows: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The inner products of the rows at `a` with those at `b`, (n,) float64; the rows of a few
    pairs at a time in memory.
    """
    pieces = -(-len(a) // _PIECE) or 1
    parts = [
        np.einsum("ud,ud->u", rows[x], rows[y], dtype=np.float64)
        for x, y in zip(np.array_split(a, pieces), np.array_split(b, pieces), strict=True)
    ]
    return np.concatenate(parts)


RANK = 160  # of the axes in which senses are told apart
FINE_RANK = 32  # of those in which uses of one word are
TOPIC_RANK = 16  # of those in which what stands around a token is
SHRINKAGE = 0.05  # of the variances towards their mean
POWER = 0.35  # of each variance that is divided out; 0.5 would make all axes equal


@dataclass(frozen=True, eq=False)
class Axes:
    """The directions in which random tokens vary the most, evened out so that no few of them decide
    every cosine.
    """

    mean: np.ndarray  # (D,) float32
    axes: np.ndarray  # (D, P) float32

    @classmethod
    def of(cls, vectors: np.ndarray, rank: int, power: float = POWER) -> Axes:
        """vectors: (R, D), of random tokens. P is `rank`, or D or R - 1 when that is less.

        Principal axes, each divided by its variance to `power`, which is pulled towards the mean
        variance before.
        """
        wide = vectors.astype(np.float64)
        mean = wide.mean(0)
        variance, axes = np.linalg.eigh((wide - mean).T @ (wide - mean) / len(wide))
        kept = slice(None, -min(rank, len(variance), max(len(wide) - 1, 1)) - 1, -1)
        shrunk = (1 - SHRINKAGE) * variance.clip(0) + SHRINKAGE * variance.mean()
        # Where nothing varies there is nothing to even out.
        scale = np.where(shrunk > 0, shrunk, 1.0) ** -power
        return cls(mean.astype(np.float32), (axes * scale)[:, kept].astype(np.float32))

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """(U, D) to (U, P) float32."""
        projected: np.ndarray = (vectors.astype(np.float32) - self.mean) @ self.axes
        return projected
