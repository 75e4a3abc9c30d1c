"""What a neuron's senses would be at other values of `same_at`, from its stored tree and the senses
that the job found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from polyseme.contract.files.results import EVIDENCE_CONTEXTS, SMALLEST_SENSE

Row = Mapping[str, Any]

POINTS: Final = tuple(round(0.05 * step, 2) for step in range(1, 20))


@dataclass(frozen=True)
class Grouping:
    """The contexts of one tail, and what the job made of them."""

    merges: Sequence[Row]
    mass: Sequence[float]  # of each context, the size of its activation
    sense: Sequence[int | None]  # of each context
    same_at: float
    counts: Row  # sense_count and coverage
    min_contexts: int

    @property
    def least(self) -> int:
        """Contexts of the smallest sense."""
        return max(self.min_contexts, math.ceil(SMALLEST_SENSE * len(self.mass)))

    @cached_property
    def groups(self) -> set[tuple[int, ...]]:
        """What the job found, before it split words by their uses."""
        return {tuple(group) for group in cut_tree(self.merges, len(self.mass), self.same_at)}


def draw_curve(given: Grouping) -> list[dict[str, Any]]:
    """What each point would give, the job's own among them: the job's numbers where the senses are
    the job's.
    """
    own = find_senses(given, given.same_at)
    points = ((at, find_senses(given, at)) for at in sorted({*POINTS, given.same_at}))
    return [
        {
            "same_at": at,
            **(given.counts if senses == own else count_senses(senses, given.mass)),
            "exact": senses == own,
        }
        for at, senses in points
    ]


def find_senses(given: Grouping, same_at: float) -> list[list[int]]:
    """The groups that are big enough.

    One that the job found too is split into uses of its word as it was there. Others are not looked
    into for them, which would take their contexts' vectors.
    """
    big = [
        group
        for group in cut_tree(given.merges, len(given.mass), same_at)
        if len(group) >= given.least
    ]
    return [
        part for g in big for part in (_split(g, given.sense) if tuple(g) in given.groups else [g])
    ]


def cut_tree(merges: Sequence[Row], contexts: int, same_at: float) -> list[list[int]]:
    """The groups left of the merges at or above `same_at`, each ascending, by their first context.

    Exact, since in average linkage no merge has a larger mean than those within it.
    """
    pieces: dict[int, list[int]] = {i: [i] for i in range(contexts)}
    for step, merge in enumerate(merges):
        if merge["same_at"] >= same_at:
            pieces[contexts + step] = sorted(pieces.pop(merge["left"]) + pieces.pop(merge["right"]))
    return sorted(pieces.values())


def _split(group: Sequence[int], sense: Sequence[int | None]) -> list[list[int]]:
    parts: dict[int | None, list[int]] = {}
    for i in group:
        parts.setdefault(sense[i], []).append(i)
    return list(parts.values())


def count_senses(senses: Sequence[Sequence[int]], mass: Sequence[float]) -> dict[str, Any]:
    """None of both with too little evidence."""
    if len(mass) < EVIDENCE_CONTEXTS:
        return {"sense_count": None, "coverage": None}
    total = sum(mass)
    covered = sum(mass[i] for sense in senses for i in sense)
    return {"sense_count": len(senses), "coverage": covered / total if total else 0.0}
