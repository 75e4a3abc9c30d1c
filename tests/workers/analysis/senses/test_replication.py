from __future__ import annotations

import numpy as np
import pytest

from polyseme.contract.files.results import SURE
from polyseme.workers.analysis.senses.replication import COEFFICIENTS, predict_replication


def predict(
    *, share: float = 0.5, size: float = 20, within: float = 0.7, words: float = 5
) -> float:
    given = {"share": share, "size": size, "within": within, "words": words}
    (chance,) = predict_replication(**{name: np.array([value]) for name, value in given.items()})
    return float(chance)


def test_the_chance_is_the_logistic_of_the_terms() -> None:
    terms = [1, np.log(0.25), np.log(12), 0.6, np.log(3)]

    found = predict(share=0.25, size=12, within=0.6, words=3)

    assert found == pytest.approx(1 / (1 + np.exp(-np.dot(COEFFICIENTS, terms))))


def test_larger_and_tighter_senses_come_again_more_surely() -> None:
    assert predict(share=0.3, size=6) < predict(share=0.4, size=6)
    assert predict(size=6) < predict(size=7)
    assert predict(size=6, within=0.5) < predict(size=6, within=0.6)


def test_many_words_make_a_sense_less_sure() -> None:
    assert predict(size=6, words=6) < predict(size=6, words=1)


def test_a_large_sense_is_sure_and_the_smallest_is_not() -> None:
    assert predict(share=0.5, size=60, within=0.7) >= SURE
    assert predict(share=0.05, size=4, within=0.4, words=4) < SURE


def test_a_sense_whose_pairs_are_unknown_counts_as_loose() -> None:
    assert predict(within=np.nan) == predict(within=0.0)
    assert 0 <= predict(share=0, size=0, words=0) <= 1


def test_no_senses_have_no_chances() -> None:
    nothing = np.zeros(0)

    found = predict_replication(share=nothing, size=nothing, within=nothing, words=nothing)

    assert found.shape == (0,)
