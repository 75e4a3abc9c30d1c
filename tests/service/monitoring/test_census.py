from __future__ import annotations

from polyseme.contract.board.board import Board
from polyseme.contract.board.jobs import Survey, SurveyedJob
from polyseme.service.monitoring.census import take_census
from tests.factories import open_job, take_unit

PATIENCE_S = 600.0


def survey(*jobs: SurveyedJob, now: float = 1000.0) -> Survey:
    return Survey(now, now, jobs, {"succeeded": 3})


def test_nothing_waits_on_an_empty_board() -> None:
    census = take_census(survey(), PATIENCE_S)

    assert (
        census.units_waiting,
        census.units_running,
        census.oldest_wait_s,
        census.oldest_queued_s,
    ) == (0, 0, 0, 0)
    assert census.active == {"queued": 0, "running": 0, "cancelling": 0}
    assert census.ended == {"succeeded": 3, "failed": 0, "cancelled": 0}


def test_a_unit_waits_from_when_it_was_sent_until_it_is_begun() -> None:
    job = SurveyedJob(
        "running",
        100.0,
        {"scan:0": 1010.0, "scan:1": 1560.0, "scan:2": 1590.0},
        frozenset({"scan:0"}),
    )

    census = take_census(survey(job), PATIENCE_S)

    assert (census.units_waiting, census.units_running, census.oldest_wait_s) == (2, 1, 40.0)
    assert census.oldest_queued_s == 0


def test_a_dead_workers_unit_neither_waits_nor_runs() -> None:
    job = SurveyedJob("running", 100.0, {"scan:0": 990.0}, frozenset({"scan:0"}))

    census = take_census(survey(job), PATIENCE_S)

    assert (census.units_waiting, census.units_running) == (0, 0)


def test_a_survey_tells_jobs_units_and_ends(board: Board) -> None:
    queued, running, ended = (open_job(board).id for _ in range(3))
    assert take_unit(board, running, "plan", lease_s=30) is not None
    board.units.claim(queued, ["plan"], room=1, patience_s=PATIENCE_S)
    board.jobs.end(ended, "failed", {"code": "x", "detail": "y"})
    board.jobs.end(ended, "failed", {"code": "x", "detail": "y"})

    census = take_census(board.jobs.survey(), PATIENCE_S)

    assert census.active == {"queued": 1, "running": 1, "cancelling": 0}
    assert census.ended["failed"] == 1
    assert (census.units_waiting, census.units_running) == (1, 1)
    assert 0 <= census.oldest_wait_s < 30
    assert 0 < census.oldest_queued_s < 30
