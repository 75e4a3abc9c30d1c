"""A store that is away costs a unit time: no attempt, no byte, no job."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polyseme.contract.board.board import Board
from polyseme.contract.files.identity import StoreError
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.own_store import open_store
from polyseme.contract.records.job import Job
from polyseme.service.jobs.show import show_seen
from polyseme.workers.retention import Reaper
from polyseme.workers.scheduler import Scheduler
from polyseme.workers.store_wait import may_be_the_stores
from polyseme.workers.units import Runner
from tests.factories import write_result
from tests.store_faults import (
    Fault,
    back_after,
    broken,
    full,
    may_mount,
    on_tmpfs,
    read_only,
    unmounted,
)
from tests.workers.test_units import open_tiny_job, run_unit, run_what_is_due

UNITS = (("plan", unmounted), ("scan:0", broken), ("merge:1", unmounted), ("close", broken))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def own(folder: Path, board: Board, runner: Runner) -> Runner:
    """A worker with a store that is known by its identity, and little patience between looks."""
    store = open_store(str(folder), board.registry)
    scheduler = Scheduler(board, store, lambda queue: None, runner.settings)
    return replace(runner, store=store, scheduler=scheduler)


def read_job(board: Board, job: str) -> Job:
    found = board.jobs.get(job)
    assert found is not None
    return found


def until(is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_outage_at_any_unit_costs_no_attempt(board: Board, own: Runner, folder: Path) -> None:
    job = open_tiny_job(board, own.store)
    for unit, fault in UNITS:
        run_what_is_due(board, own, job, until=unit)
        with back_after(fault(folder), 0.3):
            run_unit(own, job, unit)
        assert read_job(board, job).store_away_since is not None
        assert board.units.count_attempts(job)[unit] == 0
        assert unit not in board.units.list_done(job)
    run_what_is_due(board, own, job)

    ended = read_job(board, job)
    assert (ended.status, ended.error) == ("succeeded", None)


@pytest.mark.skipif(not may_mount(), reason="needs root")
@pytest.mark.parametrize("fault", [read_only, full])
def test_a_file_system_that_takes_no_more_costs_no_attempt(
    board: Board, own: Runner, folder: Path, fault: Fault
) -> None:
    with on_tmpfs(folder, "16m"):
        store = Store(str(folder))
        job = open_tiny_job(board, store)
        worker = replace(own, store=store)
        run_what_is_due(board, worker, job, until="scan:0")
        with back_after(fault(folder), 1.0):
            run_unit(worker, job, "scan:0")
            assert board.units.count_attempts(job)["scan:0"] == 0
        run_unit(worker, job, "scan:0")
        assert "scan:0" in board.units.list_done(job)


def test_what_is_wrong_with_one_file_counts_as_an_attempt(board: Board, own: Runner) -> None:
    job = open_tiny_job(board, own.store)
    run_what_is_due(board, own, job, until="scan:0")
    in_the_way = Path(own.store.local_path(f"{Layout.work(job)}/partials/000000.npz"))
    (in_the_way / "x").mkdir(parents=True)

    run_unit(own, job, "scan:0")

    assert board.units.count_attempts(job)["scan:0"] == 1
    assert "Is a directory" in (board.units.last_failure(job) or "")
    assert read_job(board, job).store_away_since is None


def test_a_job_that_waits_says_so_until_a_unit_is_finished(
    board: Board, own: Runner, folder: Path
) -> None:
    job = open_tiny_job(board, own.store)
    before = read_job(board, job)
    with broken(folder):
        thread = threading.Thread(target=run_unit, args=(own, job, "plan"))
        thread.start()
        until(lambda: read_job(board, job).store_away_since)
        during = read_job(board, job)
        held, waiting = board.units.count_held(job), board.jobs.survey().jobs[0].awaits_store
        up = own.metrics.registry.get_sample_value("polyseme_store_up")
    thread.join()
    run_unit(own, job, "plan")
    after = read_job(board, job)

    assert "the store is away since 20" in show_seen(during, True, "")["warning"]
    assert during.revision > before.revision
    assert (held, waiting, up) == (1, True, 0)
    assert own.metrics.registry.get_sample_value("polyseme_store_up") == 1
    assert (after.store_away_since, show_seen(after, True, "")["warning"]) == (None, None)


@pytest.mark.parametrize("how", ["cancel", "drain"])
def test_a_unit_that_waits_is_let_go_when_it_is_to_stop(
    board: Board, own: Runner, folder: Path, how: str
) -> None:
    job = open_tiny_job(board, own.store)
    with broken(folder):
        thread = threading.Thread(target=run_unit, args=(own, job, "plan"))
        thread.start()
        until(lambda: read_job(board, job).store_away_since)
        began = time.monotonic()
        if how == "cancel":
            board.jobs.cancel(job)
        else:
            own.draining.set()
        thread.join()
        assert time.monotonic() - began < 2
    own.scheduler.advance(job)

    assert read_job(board, job).status == ("cancelled" if how == "cancel" else "running")
    assert board.units.count_held(job) == 0


def test_patience_ends_and_the_job_says_why(board: Board, own: Runner, folder: Path) -> None:
    settings = replace(own.settings, store_patience_s=0.2)
    scheduler = Scheduler(board, own.store, lambda queue: None, settings)
    worker = replace(own, settings=settings, scheduler=scheduler)
    job = open_tiny_job(board, own.store)
    with unmounted(folder):
        run_unit(worker, job, "plan")
        ended = read_job(board, job)
    scheduler.tidy_all()

    assert ended.error is not None
    assert (ended.status, ended.error["code"]) == ("failed", "store_away")
    assert str(folder) not in ended.error["detail"]
    assert not own.store.exists(Layout.work(job))


def test_a_job_whose_end_alone_meets_an_outage_waits_and_its_patience_ends_too(
    board: Board, own: Runner, folder: Path
) -> None:
    job = open_tiny_job(board, own.store)
    board.units.finish(job, "plan", fields={"shards_total": 0, "layers_total": 0})
    for unit in ("background", "close"):
        board.units.finish(job, unit)
    with unmounted(folder):
        own.scheduler.advance_all()
        waiting = read_job(board, job)
        time.sleep(0.05)
        hasty = replace(own.settings, store_patience_s=0.01)
        Scheduler(board, own.store, lambda queue: None, hasty).advance_all()

    assert (waiting.status, waiting.store_away_since is not None) == ("queued", True)
    assert (read_job(board, job).error or {})["code"] == "store_away"


def test_nothing_expires_or_is_tidied_while_the_store_is_away(
    board: Board, own: Runner, folder: Path
) -> None:
    job = open_tiny_job(board, own.store)
    write_result(own.store, job, layers=(0,))
    board.jobs.end(job, "succeeded", keep_s=0.001)
    time.sleep(0.01)
    with unmounted(folder):
        with pytest.raises(OSError, match="not mounted"):
            Reaper(board, own.store).sweep()
        with pytest.raises(OSError, match="not mounted"):
            own.scheduler.tidy_all()
        with pytest.raises(OSError, match="not mounted"):
            own.scheduler.tidy(job)
    kept = own.store.names(Layout.result(job))
    for _ in range(2):
        Reaper(board, own.store).sweep()
        time.sleep(0.01)

    assert "manifest.json" in kept
    assert board.jobs.get(job) is None
    assert not own.store.exists(Layout.result(job))


def test_only_errors_with_a_files_error_behind_them_are_taken_for_the_stores() -> None:
    def raised(outer: Exception, inner: Exception | None) -> Exception:
        try:
            try:
                if inner:
                    raise inner
            finally:
                raise outer
        except Exception as e:
            return e

    assert may_be_the_stores(raised(StoreError("x"), None))
    assert may_be_the_stores(raised(ValueError("x"), OSError("x")))
    assert not may_be_the_stores(raised(ValueError("x"), KeyError("x")))
