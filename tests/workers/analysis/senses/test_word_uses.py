"""Two uses of one word, against plain programs and on contexts whose uses the test chooses."""

from __future__ import annotations

import numpy as np
import pytest

from polyseme.workers.analysis.senses.word_uses import (
    DOUBT,
    SPLIT,
    number_words,
    part_uses,
    two_uses,
)

LEAST = 4


def part(words: np.ndarray, uses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The group of each context and the chance of each pair, all of them in one group and sure to
    mean the same before.
    """
    n = len(words)
    group, same = np.zeros(n, np.int64), np.ones((n, n), np.float32)
    part_uses(group, words.astype(np.int32), uses.astype(np.float32), np.arange(n), LEAST, same)
    return group, same


def clear_uses(contexts: int, gap: float = 0.5) -> np.ndarray:
    """Contexts that are of two uses in turn."""
    uses = np.random.default_rng(6).normal(size=(contexts, 8)) * 0.02
    uses[::2, 0] += gap
    return uses


def test_one_word_with_two_clear_uses_is_parted() -> None:
    group, same = part(np.zeros(20), clear_uses(20))

    assert len(set(group[::2])) == len(set(group[1::2])) == 1
    assert group[0] != group[1]
    assert all(group[name] == name for name in set(group))  # a group's name is of its members
    assert (same[::2, 1::2] == 0).all()
    assert (same[1::2, ::2] == 0).all()
    assert (same[::2, ::2] == 1).all()


def test_one_use_of_a_word_is_left_alone() -> None:
    uses = np.random.default_rng(7).normal(size=(40, 16)) * 0.05

    group, same = part(np.zeros(40), uses)

    assert set(group) == {0}
    assert (same == 1).all()


def test_a_group_of_several_words_is_left_alone() -> None:
    group, same = part(np.arange(20) % 5, clear_uses(20))

    assert set(group) == {0}
    assert (same == 1).all()


def test_a_group_of_few_contexts_is_left_alone() -> None:
    assert set(part(np.zeros(4 * LEAST - 1), clear_uses(4 * LEAST - 1))[0]) == {0}
    assert len(set(part(np.zeros(4 * LEAST), clear_uses(4 * LEAST))[0])) == 2


def test_a_use_of_fewer_contexts_than_a_sense_needs_is_left_in() -> None:
    uses = np.zeros((20, 8))
    uses[:3, 0] = 1.0

    group, same = part(np.zeros(20), uses)

    assert set(group) == {0}
    assert (same == 1).all()


def test_two_words_are_looked_into_as_one() -> None:
    words = np.repeat([0, 1], 12)
    uses = clear_uses(24)
    apart = uses + words[:, None]

    group, _ = part(words, apart)

    assert len(set(group[::2])) == len(set(group[1::2])) == 1
    assert group[0] != group[1]
    # Words that differ, and nothing else.
    assert set(part(words, apart - uses)[0]) == {0}


@pytest.mark.parametrize("doubt", [0.0, 0.4, 0.9])
def test_chances_fall_between_uses_that_are_nearly_far_enough_apart(doubt: float) -> None:
    between = (DOUBT + doubt * (1 - DOUBT)) * SPLIT
    uses = np.zeros((20, 2))
    uses[1::2, 0] = 2 * np.sqrt(between)  # of equal halves: a quarter of the squared gap

    group, same = part(np.zeros(20), uses)

    assert set(group) == {0}
    assert same[::2, 1::2] == pytest.approx(np.full((10, 10), 1 - doubt), abs=1e-5)
    assert np.array_equal(same, same.T)
    assert (same[::2, ::2] == 1).all()
    assert (same[1::2, 1::2] == 1).all()


def test_contexts_in_no_group_are_left_alone() -> None:
    group, same = np.full(20, -1, np.int64), np.ones((20, 20), np.float32)
    words, uses = np.zeros(20, np.int32), clear_uses(20).astype(np.float32)

    part_uses(group, words, uses, np.arange(20), LEAST, same)

    assert set(group) == {-1}
    assert (same == 1).all()


def test_words_are_numbered_in_the_order_of_their_appearance() -> None:
    assert number_words(np.array([7, 3, 7, -1, 3, 9])).tolist() == [0, 1, 0, 2, 1, 3]


def test_two_uses_are_those_of_plain_two_means_from_the_first_axis() -> None:
    rng = np.random.default_rng(10)
    vectors, kind = rng.normal(size=(30, 8)).astype(np.float32), rng.integers(0, 2, 30)
    vectors[::3, 2] += 3

    second, apart = two_uses(vectors, kind)

    own = vectors.astype(np.float64)
    for k in (0, 1):
        own[kind == k] -= own[kind == k].mean(0)
    directions = own / np.linalg.norm(own, axis=1, keepdims=True)
    directions -= directions.mean(0)
    expected = directions @ np.linalg.svd(directions)[2][0] > 0
    for _ in range(20):
        centres = [directions[expected == use].mean(0) for use in (False, True)]
        expected = np.argmin([np.linalg.norm(directions - c, axis=1) for c in centres], axis=0) == 1
    gap = own[expected].mean(0) - own[~expected].mean(0)
    assert second.tolist() in (expected.tolist(), (~expected).tolist())  # an axis has no direction
    assert apart == pytest.approx(expected.mean() * (1 - expected.mean()) * (gap @ gap))
