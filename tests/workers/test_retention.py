from __future__ import annotations

import time

import pytest

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Store
from polyseme.contract.records.job import ActivationsRequest
from polyseme.contract.settings import Settings
from polyseme.workers import retention
from polyseme.workers.retention import Reaper
from polyseme.workers.scheduler import Scheduler
from tests.factories import open_job, write_result


def end(board: Board, store: Store, job: str, *, keep_s: float) -> str:
    """Ends a job with a result as the scheduler does."""
    write_result(store, job, layers=(0,))
    board.units.finish(job, "close")
    Scheduler(board, store, lambda *_: None, Settings(retention_s=keep_s)).advance(job)
    return job


def test_an_expired_job_is_deleted_with_its_files_and_no_other_is(
    board: Board, store: Store
) -> None:
    expired, kept, later = (
        end(board, store, open_job(board).id, keep_s=s) for s in (0.001, 0, 3600)
    )
    before = board.accounts.stored_bytes("default")
    time.sleep(0.01)

    Reaper(board, store).sweep()
    once = board.jobs.get(expired)
    time.sleep(0.01)
    Reaper(board, store).sweep()

    assert once is not None
    assert [board.jobs.get(j) is None for j in (expired, kept, later)] == [True, False, False]
    assert store.names("results") == sorted([kept, later])
    assert board.jobs.expired_tenant(expired) == "default"
    assert before == 3 * board.accounts.stored_bytes("default") / 2 > 0
    assert board.jobs.files_to_delete(for_s=0) == []


def test_a_result_that_is_being_read_stays_until_its_reader_has_ended(
    board: Board, store: Store
) -> None:
    source = end(board, store, open_job(board).id, keep_s=0.001)
    request = ActivationsRequest(source, "tiny-gated", "text", ((0, 1),), 5)
    check = board.jobs.open(request).job
    time.sleep(0.01)

    for _ in range(2):
        Reaper(board, store).sweep()
        time.sleep(0.01)
    during = store.names("results")
    board.jobs.end(check, "failed")
    Reaper(board, store).sweep()

    assert (during, store.names("results")) == ([source], [])


def test_a_deletion_that_was_cut_short_is_ended(
    board: Board, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = end(board, store, open_job(board).id, keep_s=0)
    board.jobs.delete_record(job)
    Reaper(board, store).sweep()
    at_once = store.names("results")

    monkeypatch.setattr(retention, "_PATIENCE_S", 0.0)
    Reaper(board, store).sweep()

    assert (at_once, store.names("results")) == ([job], [])
    assert board.accounts.stored_bytes("default") == 0
    assert board.jobs.files_to_delete(for_s=0) == []
