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
from polyseme.workers.analysis.senses.material import Material


@dataclass(frozen=True)
class Peak:
    """Where a neuron fires more than at the tokens beside it."""

    token: int  # index in the text's tokens
    tail: Tail
    activation: float
    sense: int | None  # of its tail; None when it is in none
    # 0..1, mean chance that it means the same as the contexts of the nearest sense; None without
    # senses
    same: float | None


@dataclass(frozen=True)
class Crossing:
    """Two senses of one tail that both fire in a text."""

    tail: Tail
    senses: tuple[int, int]  # ascending
    tokens: tuple[int, int]  # the strongest peak of each
    same: float  # 0..1, mean chance that contexts of the two mean the same


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
    """The senses of one neuron's tail. S of them.

    How near something is to a sense is the mean chance that it means the same as the sense's
    contexts, as in average linkage.
    """

    material: Material
    number: np.ndarray  # (S,) int, ascending
    members: tuple[np.ndarray, ...]  # of each sense, its contexts' rows in the material
    reach: np.ndarray  # (S,) the mean chance from which a peak is in the sense

    @classmethod
    def of(
        cls, material: Material, places: np.ndarray, sense: np.ndarray, same_at: float
    ) -> KnownSenses:
        """places: (C,) rows of contexts in the material; sense: (C,) int, negative for none.

        A sense takes in what is as near as the job's same_at, or as its own farthest context when
        that is further.
        """
        number = np.unique(sense[sense >= 0])
        members = tuple(places[sense == s] for s in number)
        reach = [min([same_at, *_chances_inside(material, rows)]) for rows in members]
        return cls(material, number, members, np.array(reach))

    def nearest(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sense of each place, -1 beyond its reach, and the mean chance with the nearest, (Q,)
        each. S is not 0.
        """
        chances = self.material.chances(places, np.concatenate(self.members))  # (Q, C in senses)
        ends = np.cumsum([len(rows) for rows in self.members])[:-1]
        same = np.stack([part.mean(1) for part in np.split(chances, ends, axis=1)], 1)  # (Q, S)
        best = same.argmax(1)
        most = same[np.arange(len(best)), best]
        return np.where(most >= self.reach[best], self.number[best], -1), most

    def between(self, a: int, b: int) -> float:
        """The mean chance between the contexts of two senses."""
        first, second = (self.members[i] for i in np.searchsorted(self.number, [a, b]))
        return float(self.material.chances(first, second).mean())


def _chances_inside(material: Material, rows: np.ndarray) -> np.ndarray:
    """Of each context its mean chance with the others of its sense, (n,); 1 for one alone."""
    n = len(rows)
    if n < 2:
        return np.ones(n)
    chances = material.chances(rows, rows)
    found: np.ndarray = (chances.sum(1) - chances.diagonal()) / (n - 1)
    return found


def place_peaks(
    tokens: np.ndarray,
    tail: Tail,
    activations: np.ndarray,
    places: np.ndarray,
    known: KnownSenses | None,
) -> list[Peak]:
    """One neuron's peaks with their senses. tokens, activations: (Q,); places: (Q,) their rows in
    the material, unused without senses.
    """
    sense, same = np.full(len(tokens), -1), np.full(len(tokens), np.nan)
    if known is not None and len(known.number) and len(tokens):
        sense, same = known.nearest(places)
    columns = (tokens.tolist(), activations.tolist(), sense.tolist(), same.tolist())
    return [
        Peak(token, tail, activation, s if s >= 0 else None, None if np.isnan(p) else p)
        for token, activation, s, p in zip(*columns, strict=True)
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
        Crossing(tail, (a, b), (strongest[a].token, strongest[b].token), known.between(a, b))
        for a, b in combinations(sorted(strongest), 2)
    ]
