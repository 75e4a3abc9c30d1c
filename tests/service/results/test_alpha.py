from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from polyseme.service.results.alpha import Grouping, cut_tree, draw_curve, find_senses, score

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


def make_grouping(merges: list[dict[str, float]], mass: list[float], **changed: Any) -> Grouping:
    """What a job found at alpha 0.05, where the groups stand in the order of their contexts."""
    groups = cut_tree(merges, len(mass), 0.05)
    sense = {i: number for number, group in enumerate(groups) for i in group}
    given = Grouping(merges, mass, [sense[i] for i in range(len(mass))], 0.05, {}, 4)
    return replace(given, **({"scores": score(find_senses(given, 0.05), mass)} | changed))


def point_at(given: Grouping, alpha: float) -> dict[str, Any]:
    return next(point for point in draw_curve(given) if point["alpha"] == alpha)


def test_a_merge_may_be_lower_than_one_before_it() -> None:
    merges = [MERGES[1], MERGES[0]]

    assert cut_tree(merges, 4, 0.02) == [[0, 1], [2], [3]]


def test_scores_are_those_of_the_groups_shares() -> None:
    mass = [3.0] * 10 + [1.0] * 10
    found = score(find_senses(make_grouping(make_tree(2, 10), mass), 0.05), mass)

    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert (found["sense_count"], found["coverage"]) == (2, 1.0)
    assert found["score"] == pytest.approx(1 - 0.75**2 - 0.25**2)
    assert found["effective_senses"] == pytest.approx(math.exp(entropy))


def test_small_groups_are_no_senses() -> None:
    found = point_at(make_grouping(make_tree(10, 3), [1.0] * 30), 0.1)

    assert (found["sense_count"], found["coverage"], found["score"]) == (0, 0.0, None)


def test_too_few_contexts_say_nothing() -> None:
    found = point_at(make_grouping(make_tree(2, 5), [1.0] * 10), 0.1)

    assert (found["sense_count"], found["coverage"], found["score"]) == (None, None, None)


def test_where_the_senses_are_the_jobs_the_scores_are_too() -> None:
    doubtful = {"sense_count": 2, "coverage": 1.0, "score": 0.61, "effective_senses": 2.4}
    given = make_grouping(make_tree(2, 10), [1.0] * 20, scores=doubtful)

    assert (
        point_at(given, 0.05)
        == point_at(given, 0.1) | {"alpha": 0.05}
        == {"alpha": 0.05, **doubtful, "exact": True}
    )
    assert (point_at(given, 0.3)["exact"], point_at(given, 0.3)["score"]) == (False, 0.0)


def test_a_group_that_the_job_split_is_split_at_other_alphas_too() -> None:
    uses = [0] * 6 + [1] * 4 + [2] * 10 + [3] * 10
    # The last two groups of ten are one at 0.3; the first joins them at 0.4.
    merges = make_tree(3, 10)
    merges[-2:] = [
        {"left": 47, "right": 56, "height": 0.25},
        {"left": 38, "right": 57, "height": 0.4},
    ]
    given = make_grouping(merges, [1.0] * 30, sense=uses)

    assert [len(s) for s in find_senses(given, 0.05)] == [6, 4, 10, 10]
    assert [len(s) for s in find_senses(given, 0.3)] == [6, 4, 20]
    assert [len(s) for s in find_senses(given, 0.5)] == [30]


def test_the_jobs_own_alpha_is_on_the_curve() -> None:
    given = replace(make_grouping(make_tree(2, 10), [1.0] * 20), alpha=0.07)

    assert point_at(given, 0.07)["exact"]
