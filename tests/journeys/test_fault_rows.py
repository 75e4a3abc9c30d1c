"""What `make faults` counts as passed, its table, and one of its faults for real."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.accepted import Audit
from tests.journeys.fault_rows import Row, format_table
from tests.journeys.faults import choose, run_faults
from tests.journeys.trials import FAULTS, Bench
from tests.nursery import Nursery

FINE = Audit(
    jobs=3,
    statuses={"succeeded": 3},
    lost=0,
    doubled=0,
    changed=(),
    incomplete=(),
    attempts=(1, 1, 1),
    units=3,
)


def test_a_row_is_passed_when_nothing_is_missed() -> None:
    assert Row("x", FINE, 10.0).find_misses() == []


@pytest.mark.parametrize(
    "change",
    [
        {"statuses": {"succeeded": 2, "failed": 1}},
        {"statuses": {"succeeded": 2}},
        {"lost": 1},
        {"doubled": 1},
        {"changed": ("job",)},
        {"incomplete": ("job",)},
        {"attempts": (1, 2)},
        {"attempts": ()},
    ],
)
def test_each_thing_that_became_of_a_job_may_miss(change: dict[str, Any]) -> None:
    assert len(Row("x", replace(FINE, **change), 1.0).find_misses()) == 1


def test_late_progress_complaints_and_what_was_not_shown_miss_too() -> None:
    assert Row("x", FINE, 10.1).find_misses() == ["more than 10 s"]
    assert Row("x", FINE, None).find_misses() == ["no progress after it"]
    assert Row("x", FINE, 1.0, complaints=("no",)).find_misses() == ["no"]
    assert Row("x", not_shown="needs root").find_misses() == ["not shown: needs root"]


def test_the_table_has_a_line_for_each_fault() -> None:
    rows = [
        Row("away", FINE, 1.23, remarks={"503": 4}),
        Row("late", replace(FINE, statuses={"failed": 1, "succeeded": 2}), None),
        Row("none", not_shown="needs root"),
    ]

    lines = format_table(rows).splitlines()

    assert lines[1] == "|" + " --- |" * 9
    assert lines[2] == "| away (4 503) | 3 | 3 succeeded | 1 | 3 of 3 | 1.2 | 0 | 0 | yes |"
    assert lines[3] == (
        "| late | 3 | 1 failed, 2 succeeded | 1 | 3 of 3 | - | 0 | 0 "
        "| no: a job did not succeed; no progress after it |"
    )
    assert lines[4] == "| none | - | - | - | - | - | - | - | not shown: needs root |"


def test_faults_are_chosen_by_parts_of_their_names() -> None:
    assert choose([]) == list(FAULTS)
    assert choose(["hung", "supervisors"]) == ["store hung 60 s", "two supervisors"]


def test_a_file_that_is_damaged_before_the_end_is_in_no_result(
    nursery: Nursery, tmp_path: Path
) -> None:
    name = "file deleted, cut or flipped between close and end"

    [row] = run_faults(Bench(nursery, tmp_path, 1), [name])

    assert row.find_misses() == []
