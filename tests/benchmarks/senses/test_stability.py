from __future__ import annotations

import numpy as np

from benchmarks.senses.scans import Scores
from benchmarks.senses.stability import report


def make_scores(effective: list[float], status: list[str]) -> Scores:
    values = np.array(effective)
    return Scores(
        np.full(len(values), 12),
        np.array(status),
        values,
        np.round(values),
        np.linspace(0.5, 1, len(values)),
    )


def test_only_neurons_with_a_score_in_both_halves_are_ranked() -> None:
    told = ["monosemantic", "polysemantic", "polysemantic", "polysemantic"]
    first = make_scores([1.0, 2.0, 3.0, np.nan], [*told[:3], "incoherent"])
    second = make_scores([1.1, 2.9, 2.2, 5.0], told)

    row = report(first, second).splitlines()[2]

    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    # Ranks 1, 2, 3 and 1, 3, 2; counts 1, 2, 3 and 1, 3, 2.
    assert cells == ["layer 12", "4", "3", "0.750", "0.500", "0.500", "0.333", "1.000"]
