"""What a neuron's senses would be at other alphas, from its stored tree and the senses that the job
found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from polyseme.contract.files.results import COHERENT_COVERAGE, EVIDENCE_CONTEXTS, SMALLEST_SENSE

Row = Mapping[str, Any]

ALPHAS = (
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.03,
    0.04,
    0.05,
    0.06,
    0.08,
    0.1,
    0.12,
    0.15,
    0.2,
    0.25,
    0.3,
    0.4,
    0.5,
)


@dataclass(frozen=True)
class Grouping:
    """The contexts of one tail, and what the job made of them."""

    merges: Sequence[Row]
    mass: Sequence[float]  # of each context, the size of its activation
    sense: Sequence[int | None]  # of each context
    alpha: float
    scores: Row  # sense_count, coverage, score and effective_senses
    min_contexts: int

    @property
    def least(self) -> int:
        """Contexts of the smallest sense."""
        return max(self.min_contexts, math.ceil(SMALLEST_SENSE * len(self.mass)))

    @cached_property
    def groups(self) -> set[tuple[int, ...]]:
        """What the job found, before it split words by their uses."""
        return {tuple(group) for group in cut_tree(self.merges, len(self.mass), self.alpha)}


def draw_curve(given: Grouping) -> list[dict[str, Any]]:
    """What each alpha would give, the job's own among them: the job's scores where the senses are
    the job's.
    """
    own = find_senses(given, given.alpha)
    points = ((alpha, find_senses(given, alpha)) for alpha in sorted({*ALPHAS, given.alpha}))
    return [
        {
            "alpha": alpha,
            **(given.scores if senses == own else score(senses, given.mass)),
            "exact": senses == own,
        }
        for alpha, senses in points
    ]


def find_senses(given: Grouping, alpha: float) -> list[list[int]]:
    """The groups that are big enough.

    One that the job found too is split into uses of its word as it was there. Others are not looked
    into for them, which would take their contexts' vectors.
    """
    big = [
        group
        for group in cut_tree(given.merges, len(given.mass), alpha)
        if len(group) >= given.least
    ]
    return [
        part for g in big for part in (_split(g, given.sense) if tuple(g) in given.groups else [g])
    ]


def cut_tree(merges: Sequence[Row], contexts: int, alpha: float) -> list[list[int]]:
    """The groups left of the merges at or below `alpha`, each ascending, by their first context."""
    pieces: dict[int, list[int]] = {i: [i] for i in range(contexts)}
    for step, merge in enumerate(merges):
        # Not in the order of their heights; but none is lower than those within it.
        if merge["height"] <= alpha:
            pieces[contexts + step] = sorted(pieces.pop(merge["left"]) + pieces.pop(merge["right"]))
    return sorted(pieces.values())


def _split(group: Sequence[int], sense: Sequence[int | None]) -> list[list[int]]:
    parts: dict[int | None, list[int]] = {}
    for i in group:
        parts.setdefault(sense[i], []).append(i)
    return list(parts.values())


def score(senses: Sequence[Sequence[int]], mass: Sequence[float]) -> dict[str, Any]:
    """The score is None unless the neuron is coherent."""
    masses = sorted((sum(mass[i] for i in sense) for sense in senses), reverse=True)
    covered, total = sum(masses), sum(mass)
    coverage = covered / total if total else 0.0
    enough = len(mass) >= EVIDENCE_CONTEXTS
    coherent = enough and bool(masses) and coverage >= COHERENT_COVERAGE
    shares = [m / covered for m in masses]
    return {
        "sense_count": len(masses) if enough else None,
        "coverage": coverage if enough else None,
        "score": 1 - sum(p * p for p in shares) if coherent else None,
        "effective_senses": math.exp(-sum(p * math.log(p) for p in shares)) if coherent else None,
    }
