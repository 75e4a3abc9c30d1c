"""Units that do not go on, on a real board: who waits, who gives up, and what comes of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polyseme.contract.board.board import Board
from polyseme.contract.board.units import Lease
from polyseme.contract.files.probe import StoreProbe
from polyseme.contract.files.store import Store
from polyseme.workers.analysis import pipeline
from polyseme.workers.scheduler import Scheduler
from polyseme.workers.stalls import StallWatch
from polyseme.workers.units import Runner
from tests.factories import open_job, take_unit
from tests.store_faults import broken
from tests.workers.test_result_damage import read_files
from tests.workers.test_units import finish_job, open_tiny_job, run_unit, run_what_is_due


class Watched:
    """A unit that a worker holds, and the watch over it."""

    def __init__(self, board: Board, store: Store, runner: Runner, stall_s: float) -> None:
        self.board, self.stalled, self.store_works = board, 0, list[bool]()
        probe = StoreProbe(store, wait_s=2.0)
        scheduler = Scheduler(board, store, lambda queue: None, runner.settings)
        self.watch = StallWatch(
            board, scheduler, probe, stall_s, self.store_works.append, self._note_stall
        )
        self.lease = self.take("scan:0")

    def take(self, unit: str) -> Lease:
        lease = take_unit(self.board, open_job(self.board).id, unit, lease_s=30)
        assert lease is not None
        return lease

    def _note_stall(self) -> None:
        self.stalled += 1


@pytest.fixture
def watched(board: Board, store: Store, runner: Runner) -> Watched:
    return Watched(board, store, runner, 100.0)


def test_a_unit_is_given_up_once_it_was_silent_for_too_long(watched: Watched, board: Board) -> None:
    lease = watched.lease

    assert not watched.watch.look(lease, 100.0)
    assert board.units.count_held(lease.job) == 1
    assert watched.watch.look(lease, 100.5)

    assert (watched.stalled, board.units.count_held(lease.job)) == (1, 0)
    assert board.units.count_attempts(lease.job) == {"scan:0": 1}
    assert board.units.last_failure(lease.job) == "scan:0: no progress for 100 s"


def test_what_is_slow_has_more_time_at_each_attempt(watched: Watched) -> None:
    third = replace(watched.lease, attempt=3)

    assert not watched.watch.look(third, 399.0)
    assert watched.watch.look(third, 401.0)


def test_the_pauses_of_a_kind_of_unit_are_learnt(watched: Watched, board: Board) -> None:
    for _ in range(3):
        board.units.note_pause("scan", 40.0)
    board.units.note_pause("merge", 1.0)

    assert board.units.usual_pause("scan") == 40.0
    assert not watched.watch.look(watched.lease, 399.0)
    assert watched.watch.look(watched.take("merge:3"), 101.0)


def test_one_long_pause_does_not_decide_for_long(board: Board) -> None:
    for seconds in (1.0, 3600.0, *[1.0] * 20):
        board.units.note_pause("scan", seconds)

    assert board.units.usual_pause("scan") < 10


def test_a_unit_in_a_store_that_is_away_is_kept_and_its_job_says_so(
    watched: Watched, board: Board, store: Store, tmp_path: Path
) -> None:
    job = watched.lease.job
    store.write("x", b"x")
    with broken(tmp_path / "store"):
        assert not watched.watch.look(watched.lease, 10_000.0)

    found = board.jobs.get(job)
    assert found is not None
    assert found.store_away_since is not None
    assert (watched.store_works, board.units.count_held(job)) == ([False], 1)


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The first scan stands still until it is set, and then goes on."""
    released, scan, met = threading.Event(), pipeline.scan_shard, list[int]()

    def scan_shard(analysis: Any, model: Any, shard: int, **options: Any) -> int:
        met.append(shard)
        if len(met) == 1:
            released.wait()
            options["should_stop"] = lambda: False  # it comes to its end without asking
        return scan(analysis, model, shard, **options)

    monkeypatch.setattr(pipeline, "scan_shard", scan_shard)
    yield released
    released.set()


def test_what_comes_late_of_a_unit_that_was_given_up_changes_nothing(
    board: Board, store: Store, runner: Runner, hang: threading.Event
) -> None:
    given_up = threading.Event()
    settings = replace(runner.settings, lease_s=1.0, stall_s=1.0)
    stuck = replace(runner, settings=settings, on_stall=given_up.set)
    job = open_tiny_job(board, store)
    run_what_is_due(board, runner, job, until="scan:0")
    thread = threading.Thread(target=run_unit, args=(stuck, job, "scan:0"))
    thread.start()

    assert given_up.wait(20)
    ran = run_what_is_due(board, runner, job, until="background")
    between = board.jobs.get(job)
    hang.set()
    thread.join()
    after = board.jobs.get(job)
    run_what_is_due(board, runner, job)

    assert ran[0] == "scan:0"
    assert between is not None
    assert after is not None
    assert replace(after.progress, phase_s=None) == replace(between.progress, phase_s=None)
    assert after.phase == between.phase
    ended, files = board.jobs.get(job), read_files(store, job)
    assert ended is not None
    assert (ended.status, ended.progress.tokens_done) == ("succeeded", ended.progress.tokens_total)
    other = open_tiny_job(board, store)
    finish_job(board, runner, other)
    assert read_files(store, other) == files


def test_how_long_units_are_silent_is_noted(board: Board, store: Store, runner: Runner) -> None:
    job = open_tiny_job(board, store)

    run_unit(runner, job, "plan")

    assert "plan" in board._redis.hgetall("polyseme:pauses")
