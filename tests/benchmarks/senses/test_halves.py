from __future__ import annotations

import numpy as np
import pytest

from benchmarks.senses.halves import Held, compare_halves, row
from benchmarks.senses.scans import Scores
from polyseme.workers.analysis.senses.material import Material
from polyseme.workers.analysis.senses.pairs import LETTERS, VECTORS


def make_scores(score: list[float], status: list[str]) -> Scores:
    values = np.array(score)
    low, high = values - 0.15, values + 0.15
    return Scores(np.full(4, 12), np.array(status), values, low, high, np.round(values), values)


def test_only_units_with_a_score_in_both_halves_are_ranked() -> None:
    told = ["monosemantic", "polysemantic", "polysemantic", "polysemantic"]
    first = make_scores([1.0, 2.0, 3.0, np.nan], [*told[:3], "insufficient_evidence"])
    second = make_scores([1.1, 2.9, 2.2, 5.0], told)

    # Ranks 1, 2, 3 and 1, 3, 2; counts 1, 2, 3 and 1, 3, 2.
    assert row(first, second) == ["4", "3", "0.500", "0.500", "0.333", "0.750", "0.333", "0.500"]


@pytest.fixture
def material() -> Material:
    """Two clouds far apart, of eight places each, every one of another word."""
    vectors = np.repeat(np.eye(2, 4, dtype=np.float32), 8, 0)
    return Material(
        kind=VECTORS,
        vectors=vectors,
        uses=np.zeros((16, 1), np.float32),
        encoded=np.zeros((16, 0), np.float32),
        word=np.arange(16, dtype=np.int32),
        spelling=np.full(16, LETTERS, np.int8),
        random=vectors,
        scales=np.array([1.0, 0.2, 0, 1, 0, 1]),
    )


def hold(*places: int) -> Held:
    return Held(np.array(places), np.ones(len(places)), np.zeros(len(places), np.int64))


def test_a_sense_comes_again_where_the_other_half_has_a_near_one(material: Material) -> None:
    first = [hold(0, 1, 2, 3), hold(0, 1, 2, 3)]
    second = [hold(4, 5, 6, 7), hold(8, 9, 10, 11)]

    found = compare_halves(material, first, second)

    assert found.again.tolist() == [True, False]
    # Each is set beside the other unit.
    assert found.by_chance.tolist() == [False, True]
    assert found.share.tolist() == [1, 1]
    assert found.words.tolist() == [4, 4]
    assert (found.within > 0.8).all()
