"""A text's activations read against what is known of its neurons: where they peak, in which sense,
and where two meet.

Knows arrays, not models or files. docs/api.md has the rules for clients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.senses.background import Scale


@dataclass(frozen=True)
class Peak:
    """Where a neuron fires more than at the tokens beside it."""

    token: int  # index in the text's tokens
    tail: Tail
    activation: float
    sense: int | None  # of its tail; None when it is in none
    distance: (
        float | None
    )  # to the nearest sense's contexts, 0..1, a quantile of random pairs; None without senses


@dataclass(frozen=True)
class Crossing:
    """Two senses of one tail that both fire in a text."""

    tail: Tail
    senses: tuple[int, int]  # ascending
    tokens: tuple[int, int]  # the strongest peak of each
    separation: (
        float  # 0..1, mean distance between the contexts of the two, a quantile of random pairs
    )


def find_peaks(
    strength: np.ndarray, counted: np.ndarray, offsets: np.ndarray, threshold: np.ndarray
) -> np.ndarray:
    """Where each neuron fires above its threshold and more than at the tokens beside it, (T, N)
    bool.

    strength: (T, N), positive where the tail fires; counted: (T,) bool; offsets: (W + 1,) of the
    windows, which do not see each other; threshold: (N,), infinite where nothing is a peak. Of two
    equal neighbours the first is one.
    """
    known = np.where(counted[:, None], strength, -np.inf)
    before, after = np.roll(known, 1, axis=0), np.roll(known, -1, axis=0)
    before[offsets[:-1]] = -np.inf
    after[offsets[1:] - 1] = -np.inf
    is_peak: np.ndarray = (known > before) & (known >= after) & (known > threshold)
    return is_peak


@dataclass(frozen=True, eq=False)
class KnownSenses:
    """The senses of one neuron's tail in a space of unit vectors. S of them.

    How far something is from a sense is its mean cosine distance to the sense's contexts, as in
    average linkage.
    """

    number: np.ndarray  # (S,) int, ascending
    centre: (
        np.ndarray
    )  # (S, P) float64, the mean of the contexts' vectors, which is shorter than they are
    reach: np.ndarray  # (S,) quantile up to which a peak is in the sense
    scale: Scale

    @classmethod
    def of(cls, vectors: np.ndarray, sense: np.ndarray, alpha: float, scale: Scale) -> KnownSenses:
        """vectors: (C, P) of contexts; sense: (C,) int, negative for none.

        A sense reaches as far as the job's alpha, or as its own farthest context when that is
        further.
        """
        number = np.unique(sense[sense >= 0])
        members = [vectors[sense == s].astype(np.float64) for s in number]
        centre = np.array([m.mean(0) for m in members]).reshape(len(number), vectors.shape[1])
        reach = [max([alpha, *scale.read(_distances_inside(m))]) for m in members]
        return cls(number, centre, np.array(reach), scale)

    def distances(self, vectors: np.ndarray) -> np.ndarray:
        """Quantiles, (Q, S). vectors: (Q, P)."""
        return self.scale.read(1.0 - vectors.astype(np.float64) @ self.centre.T)

    def nearest(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sense of each vector, -1 beyond its reach, and the distance to the nearest, (Q,)
        each. S is not 0.
        """
        distances = self.distances(vectors)
        best = distances.argmin(1)
        distance = distances[np.arange(len(best)), best]
        return np.where(distance <= self.reach[best], self.number[best], -1), distance

    def separation(self, a: int, b: int) -> float:
        """The mean distance between the contexts of two senses, as a quantile."""
        first, second = self.centre[np.searchsorted(self.number, [a, b])]
        return float(self.scale.read(np.array(1.0 - first @ second)))


def _distances_inside(members: np.ndarray) -> np.ndarray:
    """Of each context its mean cosine distance to the others of its sense, (n,); 0 for one alone.
    members: (n, P).
    """
    n = len(members)
    similar = members @ members.sum(0) - np.einsum("np,np->n", members, members)
    return 1.0 - similar / (n - 1) if n > 1 else np.zeros(1)


def place_peaks(
    tokens: np.ndarray,
    tail: Tail,
    activations: np.ndarray,
    vectors: np.ndarray,
    known: KnownSenses | None,
) -> list[Peak]:
    """One neuron's peaks with their senses. tokens, activations: (Q,); vectors: (Q, P), unused
    without senses.
    """
    sense, distance = np.full(len(tokens), -1), np.full(len(tokens), np.nan)
    if known is not None and len(known.number) and len(tokens):
        sense, distance = known.nearest(vectors)
    columns = (tokens.tolist(), activations.tolist(), sense.tolist(), distance.tolist())
    return [
        Peak(token, tail, activation, s if s >= 0 else None, None if np.isnan(d) else d)
        for token, activation, s, d in zip(*columns, strict=True)
    ]


def find_crossings(peaks: Sequence[Peak], tail: Tail, known: KnownSenses | None) -> list[Crossing]:
    """Every pair of senses of a neuron's tail that both fire among its peaks."""
    if known is None:
        return []
    strongest: dict[int, Peak] = {}
    for peak in sorted(peaks, key=lambda p: (-abs(p.activation), p.token)):
        if peak.tail == tail and peak.sense is not None:
            strongest.setdefault(peak.sense, peak)
    return [
        Crossing(tail, (a, b), (strongest[a].token, strongest[b].token), known.separation(a, b))
        for a, b in combinations(sorted(strongest), 2)
    ]
