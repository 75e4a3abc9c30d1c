from __future__ import annotations

import numpy as np
import pytest

from polyseme.workers.analysis.senses.status import ONE_MEANING, decide_status

MUCH, LITTLE = ONE_MEANING, ONE_MEANING - 0.01


@pytest.mark.parametrize(
    ("senses", "fields", "share", "claimed", "status"),
    [
        (1, 1, MUCH, True, "monosemantic"),
        (1, 1, MUCH, False, "described"),
        (1, 1, LITTLE, True, "described"),
        (1, 0, 0.0, True, "described"),
        (2, 1, MUCH, True, "monosemantic"),
        (3, 1, LITTLE, True, "described"),
        (2, 2, MUCH, True, "polysemantic"),
        (5, 2, LITTLE, True, "polysemantic"),
        (2, 2, MUCH, False, "described"),
        (0, 0, 0.0, True, "described"),
        (np.nan, np.nan, np.nan, True, "insufficient_evidence"),
        (np.nan, np.nan, np.nan, False, "insufficient_evidence"),
    ],
)
def test_a_status_follows_from_senses_evidence_and_claim(
    senses: float, fields: float, share: float, claimed: bool, status: str
) -> None:
    scores = {"sense_count": senses, "sure_fields": fields, "sure_share": share}

    found = decide_status({n: np.array([v]) for n, v in scores.items()}, np.array([claimed]))

    assert found.tolist() == [status]
