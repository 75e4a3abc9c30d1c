from __future__ import annotations

import math

import pytest

from service.alpha import cut_tree, score_at

# 0 and 1 are near, 2 and 3 are, and the two pairs are far apart.
MERGES = [
    {"left": 0, "right": 1, "height": 0.01},
    {"left": 2, "right": 3, "height": 0.03},
    {"left": 4, "right": 5, "height": 0.2},
]


@pytest.mark.parametrize(
    ("alpha", "groups"),
    [
        (0.005, [[0], [1], [2], [3]]),
        (0.01, [[0, 1], [2], [3]]),
        (0.05, [[0, 1], [2, 3]]),
        (0.3, [[0, 1, 2, 3]]),
    ],
)
def test_a_tree_is_cut_at_alpha(alpha: float, groups: list[list[int]]) -> None:
    assert cut_tree(MERGES, 4, alpha) == groups


def make_tree(groups: int, size: int) -> list[dict[str, float]]:
    """Groups of equal size at height 0.01, all joined at 0.2."""
    leaves, merges, tops = groups * size, [], []
    for g in range(groups):
        top = g * size
        for i in range(1, size):
            merges.append({"left": top, "right": g * size + i, "height": 0.01})
            top = leaves + len(merges) - 1
        tops.append(top)
    for other in tops[1:]:
        merges.append({"left": tops[0], "right": other, "height": 0.2})
        tops[0] = leaves + len(merges) - 1
    return merges


def test_scores_are_those_of_the_groups_shares() -> None:
    found = score_at(make_tree(2, 10), [3.0] * 10 + [1.0] * 10, 0.05, 4)

    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert (found["sense_count"], found["coverage"]) == (2, 1.0)
    assert found["score"] == pytest.approx(1 - 0.75**2 - 0.25**2)
    assert found["effective_senses"] == pytest.approx(math.exp(entropy))


def test_small_groups_are_no_senses() -> None:
    found = score_at(make_tree(10, 3), [1.0] * 30, 0.05, 4)

    assert (found["sense_count"], found["coverage"], found["score"]) == (0, 0.0, None)


def test_too_few_contexts_say_nothing() -> None:
    found = score_at(make_tree(2, 5), [1.0] * 10, 0.05, 4)

    assert (found["sense_count"], found["coverage"], found["score"]) == (None, None, None)
