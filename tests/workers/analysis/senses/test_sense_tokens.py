from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from polyseme.workers.analysis.senses.sense_tokens import KEPT, NEAR, PRIOR, find_sense_tokens

WIDTH = 2 * NEAR + 1


def contexts(*rows: dict[int, int]) -> np.ndarray:
    """Tokens around peaks by their place from the peak."""
    near = np.full((len(rows), WIDTH), -1)
    for i, row in enumerate(rows):
        for place, token in row.items():
            near[i, NEAR + place] = token
    return near


def test_z_is_the_difference_of_smoothed_log_odds_over_its_deviation() -> None:
    corpus = np.array([80, 15, 5])

    found = find_sense_tokens(np.array([0, 0, 0]), contexts({0: 2}, {0: 2}, {0: 1}), 1, corpus)

    own, other = 2 + PRIOR * 0.05, 5 + PRIOR * 0.05
    log_odds = math.log(own / (3 + PRIOR - own)) - math.log(other / (100 + PRIOR - other))
    assert (found.token[0], found.at[0], found.count[0]) == (2, "peak", 2)
    assert found.z[0] == pytest.approx(log_odds / math.sqrt(1 / own + 1 / other), rel=1e-6)


def test_tokens_at_and_beside_the_peaks_are_told_apart() -> None:
    near = contexts({0: 1, 2: 3}, {0: 1, -1: 3}, {0: 1, 1: 4})

    found = find_sense_tokens(np.zeros(3, int), near, 1, np.full(50, 1000))

    assert list(zip(found.token, found.at, found.count, strict=True)) == [
        (1, "peak", 3),
        (3, "near", 2),
    ]


def test_a_token_counts_once_a_context() -> None:
    near = contexts({0: 1, 1: 3, 2: 3, 3: 3}, {0: 1, -2: 3})

    found = find_sense_tokens(np.zeros(2, int), near, 1, np.full(50, 1000))

    assert dict(zip(found.token, found.count, strict=True))[3] == 2


def test_each_sense_has_its_own_tokens_and_contexts_in_none_do_not_matter() -> None:
    owner = np.array([0, 0, 1, 1, -1])
    near = contexts({0: 1}, {0: 1}, {0: 2}, {0: 2}, {0: 3})

    found = find_sense_tokens(owner, near, 2, np.full(50, 1000))

    assert found.offsets.tolist() == [0, 1, 2]
    assert found.token.tolist() == [1, 2]


def test_counts_are_those_of_plain_sets() -> None:
    rng = np.random.default_rng(3)
    owner, near = rng.integers(-1, 7, 200), rng.integers(-1, 12, (200, WIDTH))

    found = find_sense_tokens(owner, near, 7, np.full(12, 10_000))

    counts: Counter[tuple[int, int, str]] = Counter()
    for sense, row in zip(owner.tolist(), near.tolist(), strict=True):
        counts.update((sense, t, "peak") for t in {row[NEAR]} - {-1})
        counts.update((sense, t, "near") for t in {*row[:NEAR], *row[NEAR + 1 :]} - {-1})
    sense = np.repeat(np.arange(7), np.diff(found.offsets))
    rows = zip(
        sense.tolist(), found.token.tolist(), found.at.tolist(), found.count.tolist(), strict=True
    )
    assert len(found.token) > 50
    assert all(counts[s, token, at] == count for s, token, at, count in rows)


def test_no_more_tokens_than_the_limit_are_kept() -> None:
    rows = [{0: t} for t in range(2 * KEPT)]

    found = find_sense_tokens(np.zeros(len(rows), int), contexts(*rows), 1, np.full(50, 1000))

    assert found.offsets.tolist() == [0, KEPT]
    assert found.token.tolist() == list(range(KEPT))


def test_no_senses_give_no_tokens() -> None:
    found = find_sense_tokens(np.array([-1]), contexts({0: 1}), 0, np.full(5, 1))

    assert found.offsets.tolist() == [0]
