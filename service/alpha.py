"""What a neuron's senses would be at other alphas, from its stored tree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from contract.results import COHERENT_COVERAGE, EVIDENCE_CONTEXTS, SMALLEST_SENSE

Row = Mapping[str, Any]

ALPHAS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)


def cut_tree(merges: Sequence[Row], contexts: int, alpha: float) -> list[list[int]]:
    """The groups left when merging stops above `alpha`, each ascending, by their first context."""
    pieces: dict[int, list[int]] = {i: [i] for i in range(contexts)}
    for step, merge in enumerate(merges):
        if merge["height"] > alpha:
            break
        pieces[contexts + step] = sorted(pieces.pop(merge["left"]) + pieces.pop(merge["right"]))
    return sorted(pieces.values())


def score_at(merges: Sequence[Row], mass: Sequence[float], alpha: float, min_contexts: int) -> dict[str, Any]:
    """mass: the size of the activation of each context of the tree. The score is None unless the neuron is coherent."""
    groups = cut_tree(merges, len(mass), alpha)
    least = max(min_contexts, math.ceil(SMALLEST_SENSE * len(mass)))
    masses = sorted((sum(mass[i] for i in g) for g in groups if len(g) >= least), reverse=True)
    covered, total = sum(masses), sum(mass)
    coverage = covered / total if total else 0.0
    enough = len(mass) >= EVIDENCE_CONTEXTS
    coherent = enough and bool(masses) and coverage >= COHERENT_COVERAGE
    shares = [m / covered for m in masses]
    return {
        "alpha": alpha,
        "sense_count": len(masses) if enough else None,
        "coverage": coverage if enough else None,
        "score": 1 - sum(p * p for p in shares) if coherent else None,
        "effective_senses": math.exp(-sum(p * math.log(p) for p in shares)) if coherent else None,
    }
