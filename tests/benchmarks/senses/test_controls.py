from __future__ import annotations

import numpy as np

from benchmarks.senses.controls import row
from benchmarks.senses.scans import Scores
from polyseme.contract.files.column import STATUSES


def test_units_without_a_score_are_in_the_denominators_of_shares_alone() -> None:
    status = np.array(["polysemantic", "described", "insufficient_evidence", "described"])
    score = np.array([0.9, 0.2, np.nan, 0.1])
    scores = Scores(np.full(4, 4), status, score, score, score, score * 10, score)

    cells = row(scores)

    shares = dict(zip(STATUSES, cells[1 : 1 + len(STATUSES)], strict=True))
    assert cells[0] == "4"
    assert (shares["polysemantic"], shares["described"]) == ("0.250", "0.500")
    assert cells[-3:] == ["0.20", "2.00", "0.20"]
