"""The chance of each pair against the model written out in plain numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from polyseme.contract.records.request import Senses
from polyseme.workers.analysis.senses.pairs import (
    LETTERS,
    NO_WORD,
    NUMBER,
    TOPICS,
    USES_FLOOR,
    VECTORS,
    WORDS,
    PairModel,
    fill_chances,
    kind_of_pairs,
)
from tests.workers.analysis.senses.made_up import to_material, unit

# Two of one word, one of another, two of a number, one of no word.
WORD = np.array([0, 0, 1, 2, 2, NO_WORD], np.int32)
SPELLING = np.array([LETTERS, LETTERS, NUMBER], np.int8)
SCALES = np.array([0.9, 0.3, 0.2, 0.15, -0.5, 0.8])


def fill(
    encoded_size: int = 5, place: np.ndarray | None = None, mass: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Both chances, and the mean cosine."""
    rng = np.random.default_rng(0)
    vectors, uses = unit(rng.normal(size=(6, 8))), rng.normal(size=(6, 3)).astype(np.float32)
    encoded = unit(rng.normal(size=(3, encoded_size)))
    places = np.arange(6) if place is None else place
    masses = np.ones(len(places)) if mass is None else mass
    same, field = np.full((2, len(places), len(places)), np.nan, np.float32)
    cosine = fill_chances(
        (vectors, uses, encoded, WORD, SPELLING), SCALES,
        WORDS.narrow.as_array(), WORDS.broad.as_array(), places, masses, same, field,
    )  # fmt: skip
    return same, field, cosine


def plain_chance(model: PairModel, i: int, k: int, encoded_size: int = 5) -> float:
    rng = np.random.default_rng(0)
    vectors, uses = unit(rng.normal(size=(6, 8))), rng.normal(size=(6, 3))
    encoded = unit(rng.normal(size=(3, encoded_size)))
    a, b = WORD[i], WORD[k]
    z = (1 - float(vectors[i] @ vectors[k]) - 0.9) / 0.3
    if NO_WORD in (a, b) or NUMBER in (SPELLING[a], SPELLING[b]):
        numbers = NO_WORD not in (a, b) and SPELLING[a] == SPELLING[b]
        logit = np.dot(model.plain, [1, z]) + model.numbers * numbers
    elif a == b:
        f = (np.log(((uses[i] - uses[k]) ** 2).sum() + USES_FLOOR) + 0.5) / 0.8
        logit = np.dot(model.same, [1, z, f])
    else:
        e = (float(encoded[a] @ encoded[b]) - 0.2) / 0.15 if encoded_size else 0.0
        logit = np.dot(model.different, [1, z, max(z + 2.5, 0), e, max(e - 2, 0), z * e])
    return float(1 / (1 + np.exp(-logit)))


@pytest.mark.parametrize(
    ("i", "k"),
    [
        pytest.param(0, 2, id="different words"),
        pytest.param(0, 1, id="one word"),
        pytest.param(3, 4, id="one number twice"),
        pytest.param(0, 3, id="a number on one side"),
        pytest.param(1, 5, id="no word"),
    ],
)
def test_a_chance_is_the_logistic_of_the_models_terms(i: int, k: int) -> None:
    same, field, _ = fill()

    assert same[i, k] == pytest.approx(plain_chance(WORDS.narrow, i, k), abs=1e-5)
    assert field[i, k] == pytest.approx(plain_chance(WORDS.broad, i, k), abs=1e-5)


def test_without_an_encoder_words_are_neither_alike_nor_unlike() -> None:
    same, _, _ = fill(encoded_size=0)

    assert same[0, 2] == pytest.approx(plain_chance(WORDS.narrow, 0, 2, encoded_size=0), abs=1e-5)


def test_chances_are_symmetric_and_1_on_the_diagonal() -> None:
    for chances in fill()[:2]:
        assert np.array_equal(chances, chances.T)
        assert chances.diagonal().tolist() == [1.0] * 6


def test_a_units_contexts_may_be_any_places_in_any_order() -> None:
    place = np.array([4, 0, 2, 5, 0])
    whole, part = fill()[0], fill(place=place)[0]

    expected = whole[np.ix_(place, place)]
    assert part[:4, :4] == pytest.approx(expected[:4, :4], abs=1e-6)
    # Two contexts at one place: one word, no distance and no gap.
    f = (np.log(USES_FLOOR) + 0.5) / 0.8
    logit = np.dot(WORDS.narrow.same, [1, (0 - 0.9) / 0.3, f])
    assert part[1, 4] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-5)


def test_the_mean_cosine_is_over_pairs_by_the_product_of_their_masses() -> None:
    mass = np.array([1.0, 2, 3, 0.5, 4, 1])
    vectors = unit(np.random.default_rng(0).normal(size=(6, 8))).astype(np.float64)

    _, _, cosine = fill(mass=mass)

    pairs = np.triu_indices(6, 1)
    assert cosine == pytest.approx(
        np.average((vectors @ vectors.T)[pairs], weights=np.outer(mass, mass)[pairs]), abs=1e-6
    )


def test_one_context_has_no_mean_cosine() -> None:
    assert np.isnan(fill(place=np.array([3]))[2])


def test_the_hash_of_a_kind_changes_with_each_coefficient() -> None:
    moved = [
        replace(WORDS, narrow=replace(WORDS.narrow, plain=(-3.383, -0.921))),
        replace(WORDS, broad=replace(WORDS.broad, same=(3.295, 0.203, -1.756))),
    ]

    assert replace(WORDS).sha256 == WORDS.sha256
    assert len({kind.sha256 for kind in (WORDS, VECTORS, TOPICS, *moved)}) == 5


def test_the_kind_follows_from_the_request_and_the_encoder() -> None:
    window = Senses(vectors="window")

    assert kind_of_pairs(Senses(), has_words=True) is WORDS
    assert kind_of_pairs(Senses(), has_words=False) is VECTORS
    assert kind_of_pairs(window, has_words=True) is TOPICS
    assert kind_of_pairs(window, has_words=False) is TOPICS


def test_chances_between_places_are_those_within_one_unit() -> None:
    material = to_material(np.random.default_rng(1).normal(size=(7, 12)))

    between = material.chances(np.array([0, 3]), np.array([5, 6, 1]))
    every = material.chances(np.arange(7), np.arange(7))

    assert between.shape == (2, 3)
    assert between == pytest.approx(every[np.ix_([0, 3], [5, 6, 1])], abs=1e-6)
