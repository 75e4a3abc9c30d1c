from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from polyseme.contract.files.column import STATUSES
from polyseme.service.results.unit_groups import (
    EDGES,
    QUANTILES,
    Group,
    compare_groups,
    count_bins,
)


def make_group(rows: Sequence[tuple[str, int, float | None, float | None]]) -> Group:
    """Of status, distinct contexts, score and density."""
    names = ("status", "distinct_contexts", "polysemanticity", "density")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    types = {"status": pa.string(), "distinct_contexts": pa.int32()}
    return Group(
        pa.table({name: pa.array(v, types.get(name, pa.float64())) for name, v in columns.items()})
    )


HAND = make_group(
    [
        ("polysemantic", 120, 0.9, 0.5),
        ("polysemantic", 10, 0.5, 0.2),
        ("monosemantic", 40, 0.1, 0.1),
        ("described", 30, 0.7, 0.4),
        ("insufficient_evidence", 9, None, 0.01),
        ("insufficient_evidence", 0, None, 0.0),
        ("not_finite", 0, None, None),
        ("described", 11, 1.0, 0.3),
    ]
)


def test_a_group_is_counted_as_by_hand() -> None:
    found = HAND.describe()

    assert (found["units"], found["with_evidence"], found["dead"]) == (8, 5, 1)
    assert found["statuses"] == dict(zip(STATUSES, (2, 1, 2, 2, 0, 1), strict=True))
    assert found["shares"]["polysemantic"] == 0.25
    assert sum(found["shares"].values()) == 1
    assert found["score"]["units"] == 5
    quantiles = {"0.05": 0.18, "0.25": 0.5, "0.5": 0.7, "0.75": 0.9, "0.95": 0.98}
    assert found["score"]["quantiles"] == pytest.approx(quantiles)
    # 1 is in the last bin, what lies on an edge in the upper of the two.
    assert [i for i, n in enumerate(found["score"]["counts"]) if n] == [5, 25, 35, 45, 49]
    assert HAND.count_polysemantic() == (2, 8)
    assert HAND.count_polysemantic(with_evidence=True) == (2, 5)


def test_scores_are_counted_and_ranked_as_numpy_does() -> None:
    scores = np.random.default_rng(2).beta(8, 2, 5000)
    scores[:51] = EDGES
    group = make_group([("described", 50, float(s), 0.5) for s in scores])

    found = group.describe()["score"]

    assert found["counts"] == np.histogram(scores, EDGES)[0].tolist() == count_bins(group.scores)
    assert list(found["quantiles"].values()) == pytest.approx(np.quantile(scores, QUANTILES))
    assert group.median_score == pytest.approx(np.median(scores))


def test_a_group_without_senses_has_no_scores_and_no_share() -> None:
    group = make_group([("not_scored", 50, None, 0.5)] * 12)
    found = group.describe()

    assert (found["with_evidence"], found["score"]["units"]) == (12, 0)
    assert set(found["score"]["quantiles"].values()) == {None}
    assert sum(found["score"]["counts"]) == 0
    between = compare_groups(group, HAND)
    assert (between.polysemantic, between.polysemantic_with_evidence) == (None, None)
    assert between.median_score is None


def test_two_groups_are_compared_by_share_and_median() -> None:
    rows: list[Any] = [("polysemantic", 20, 0.8 + i / 1000, 0.5) for i in range(56)]
    first = make_group([*rows, *[("described", 20, 0.9, 0.5)] * 14])
    second = make_group([*rows[:48], *[("insufficient_evidence", 3, None, 0.1)] * 32])

    found = compare_groups(first, second)

    # As Newcombe 1998 has it: 56 of 70 and 48 of 80.
    assert found.polysemantic is not None
    assert (found.polysemantic.low, found.polysemantic.high) == pytest.approx(
        (0.0524, 0.3339), abs=6e-5
    )
    assert found.polysemantic_with_evidence is not None
    assert found.polysemantic_with_evidence.difference == pytest.approx(56 / 70 - 1)
    assert found.median_score is not None
    assert found.median_score.difference == pytest.approx(0.8345 - 0.8235)
