from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from polyseme.service.results.curve import (
    Grouping,
    count_senses,
    cut_tree,
    draw_curve,
    find_senses,
)

# 0 and 1 are alike, 2 and 3 are, and the two pairs are not.
MERGES = [
    {"left": 0, "right": 1, "same_at": 0.9},
    {"left": 2, "right": 3, "same_at": 0.7},
    {"left": 4, "right": 5, "same_at": 0.1},
]


@pytest.mark.parametrize(
    ("same_at", "groups"),
    [
        (0.95, [[0], [1], [2], [3]]),
        (0.9, [[0, 1], [2], [3]]),
        (0.35, [[0, 1], [2, 3]]),
        (0.05, [[0, 1, 2, 3]]),
    ],
)
def test_a_tree_is_cut_at_same_at(same_at: float, groups: list[list[int]]) -> None:
    assert cut_tree(MERGES, 4, same_at) == groups


def make_tree(groups: int, size: int) -> list[dict[str, float]]:
    """Groups of equal size at 0.9, all joined at 0.2."""
    leaves, merges, tops = groups * size, [], []
    for g in range(groups):
        top = g * size
        for i in range(1, size):
            merges.append({"left": top, "right": g * size + i, "same_at": 0.9})
            top = leaves + len(merges) - 1
        tops.append(top)
    for other in tops[1:]:
        merges.append({"left": tops[0], "right": other, "same_at": 0.2})
        tops[0] = leaves + len(merges) - 1
    return merges


def make_grouping(merges: list[dict[str, float]], mass: list[float], **changed: Any) -> Grouping:
    """What a job found at 0.35, where the groups stand in the order of their contexts."""
    groups = cut_tree(merges, len(mass), 0.35)
    sense = {i: number for number, group in enumerate(groups) for i in group}
    given = Grouping(merges, mass, [sense[i] for i in range(len(mass))], 0.35, {}, 4)
    return replace(given, **({"counts": count_senses(find_senses(given, 0.35), mass)} | changed))


def point_at(given: Grouping, same_at: float) -> dict[str, Any]:
    return next(point for point in draw_curve(given) if point["same_at"] == same_at)


def test_a_stricter_point_never_has_larger_groups() -> None:
    curve = draw_curve(make_grouping(make_tree(3, 10), [1.0] * 30))

    assert [p["same_at"] for p in curve] == sorted(p["same_at"] for p in curve)
    assert (curve[0]["same_at"], curve[-1]["same_at"]) == (0.05, 0.95)
    assert [p["sense_count"] for p in curve] == [1] * 4 + [3] * 14 + [0]


def test_coverage_is_what_activates_in_senses() -> None:
    given = make_grouping(make_tree(2, 10), [3.0] * 10 + [1.0] * 10)
    found = count_senses(find_senses(given, 0.35)[:1], given.mass)

    assert found == {"sense_count": 1, "coverage": 0.75}


def test_small_groups_are_no_senses() -> None:
    found = point_at(make_grouping(make_tree(10, 3), [1.0] * 30), 0.4)

    assert (found["sense_count"], found["coverage"]) == (0, 0.0)


def test_too_few_contexts_say_nothing() -> None:
    found = point_at(make_grouping(make_tree(3, 3), [1.0] * 9), 0.4)

    assert (found["sense_count"], found["coverage"]) == (None, None)


def test_where_the_senses_are_the_jobs_the_numbers_are_too() -> None:
    own = {"sense_count": 2, "coverage": 0.98}
    given = make_grouping(make_tree(2, 10), [1.0] * 20, counts=own)

    assert (
        point_at(given, 0.35)
        == point_at(given, 0.5) | {"same_at": 0.35}
        == {"same_at": 0.35, **own, "exact": True}
    )
    assert (point_at(given, 0.1)["exact"], point_at(given, 0.1)["sense_count"]) == (False, 1)


def test_a_group_that_the_job_split_is_split_at_other_points_too() -> None:
    uses = [0] * 6 + [1] * 4 + [2] * 10 + [3] * 10
    # The last two groups of ten are one at 0.3; the first joins them at 0.2.
    merges = make_tree(3, 10)
    merges[-2:] = [
        {"left": 47, "right": 56, "same_at": 0.3},
        {"left": 38, "right": 57, "same_at": 0.2},
    ]
    given = make_grouping(merges, [1.0] * 30, sense=uses)

    assert [len(s) for s in find_senses(given, 0.35)] == [6, 4, 10, 10]
    assert [len(s) for s in find_senses(given, 0.25)] == [6, 4, 20]
    assert [len(s) for s in find_senses(given, 0.1)] == [30]


def test_the_jobs_own_value_is_on_the_curve() -> None:
    given = replace(make_grouping(make_tree(2, 10), [1.0] * 20), same_at=0.37)

    assert point_at(given, 0.37)["exact"]
