from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from polyseme.workers.analysis.senses.material import (
    find_spelling,
    measure_scale,
    measure_scales,
    number_words,
)
from polyseme.workers.analysis.senses.pairs import LETTERS, NO_WORD, NUMBER, SIGN, USES_FLOOR
from tests.workers.analysis.senses.made_up import to_evidence, to_material, unit


def test_words_are_numbered_whatever_their_case_and_an_empty_one_is_none() -> None:
    texts, word = number_words(["River", "", "bank", "river", "RIVER", "Straße", "STRASSE", ""])

    assert texts == ["river", "bank", "strasse"]
    assert word.tolist() == [0, NO_WORD, 1, 0, 0, 2, 2, NO_WORD]
    assert word.dtype == np.int32


def test_no_words_have_no_numbers() -> None:
    texts, word = number_words([])

    assert (texts, len(word)) == ([], 0)
    assert find_spelling(texts).shape == (0,)


def test_a_word_has_letters_of_any_script_or_is_a_number_or_a_sign() -> None:
    words = ["river", "1996", "...", "x1", "река", "河", "-", "'s", "3,000", "%", "٣"]
    assert find_spelling(words).tolist() == [
        LETTERS, NUMBER, SIGN, LETTERS, LETTERS, LETTERS, SIGN, LETTERS, NUMBER, SIGN, NUMBER,
    ]  # fmt: skip


def test_scales_are_the_means_and_deviations_over_pairs_of_random_tokens() -> None:
    rng = np.random.default_rng(0)
    word = np.array([0, 0, 1, 1, 2, 0, 3, NO_WORD, 0], np.int32)
    spelling = np.array([LETTERS, LETTERS, LETTERS, NUMBER], np.int8)
    lettered = spelling == LETTERS
    window = np.array([0, 0, 1, 2, 3, 4, 5, 6, 7])
    n = len(word)  # odd, so that each pair is looked at once
    random, uses = unit(rng.normal(size=(n, 6))), rng.normal(size=(n, 2)).astype(np.float32)
    encoded = unit(rng.normal(size=(4, 5)))

    found = measure_scales(random, uses, encoded, word, spelling, window)

    z, e, f = [], [], []
    for i, k in combinations(range(n), 2):
        a, b = word[i], word[k]
        if NO_WORD in (a, b):
            continue
        if a != b:
            z.append(1 - float(random[i] @ random[k]))
            if lettered[a] and lettered[b]:
                e.append(float(encoded[a] @ encoded[b]))
        elif lettered[a] and window[i] != window[k]:
            f.append(np.log(((uses[i] - uses[k]) ** 2).sum() + USES_FLOOR))
    expected = [value for some in (z, e, f) for value in (np.mean(some), np.std(some))]
    assert len(f) == 6  # five pairs of the first word, one of the second
    assert found == pytest.approx(expected, abs=1e-5)


def test_what_no_pair_tells_has_a_spread_of_1() -> None:
    random, nothing = unit(np.random.default_rng(1).normal(size=(9, 4))), np.zeros((9, 0))
    every = np.arange(9)

    found = measure_scales(random, nothing, nothing, every, every >= 0, every)

    assert found[2:].tolist() == [0, 1, 0, 1]
    assert 0 < found[1] < 1


def test_without_words_distances_alone_have_a_scale() -> None:
    random = unit(np.random.default_rng(2).normal(size=(9, 4)))
    gaps = [1 - float(random[i] @ random[k]) for i, k in combinations(range(9), 2)]

    found = measure_scale(random)

    assert found == pytest.approx([np.mean(gaps), np.std(gaps), 0, 1, 0, 1], abs=1e-6)


def test_a_centre_is_the_sum_of_its_senses_vectors() -> None:
    material = to_material(np.random.default_rng(3).normal(size=(5, 4)))

    found = material.centres(to_evidence(2, 3), np.array([0, 0, 1, -1, 1]), 2)

    assert found[0] == pytest.approx(material.vectors[:2].sum(0))
    assert found[1] == pytest.approx(material.vectors[[2, 4]].sum(0))
