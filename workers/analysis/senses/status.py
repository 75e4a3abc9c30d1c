"""What is said of a unit in one word, from its senses and whether it stands out from the control
units of its layer.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# Share of the firing in its contexts that sure senses of one field must explain.
ONE_MEANING = 0.6


def decide_status(scores: Mapping[str, np.ndarray], claimed: np.ndarray) -> np.ndarray:
    """(N,) str. scores: as `records.TailSenses` has them; claimed: (N,) bool, whether the unit
    stands out from nearly all of its layer's control units.
    """
    count, fields = scores["sense_count"], scores["sure_fields"]
    one = claimed & (fields == 1) & (scores["sure_share"] >= ONE_MEANING)
    status = np.where(one, "monosemantic", "described")
    status = np.where(claimed & (fields >= 2), "polysemantic", status)
    return np.where(np.isnan(count), "insufficient_evidence", status)
