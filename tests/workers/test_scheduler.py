"""What is sent, when a job ends, and why."""

from __future__ import annotations

import threading
import time
from typing import Any
from unittest.mock import Mock

import pytest

from polyseme.contract.board.board import Board
from polyseme.contract.board.lanes import FIRST_UNITS
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.records.job import JOB_VERSION, ActivationsRequest
from polyseme.contract.settings import Settings
from polyseme.contract.tickets import connect_queue, send_ticket
from polyseme.workers.pipelines import due_of
from polyseme.workers.scheduler import Scheduler
from tests.factories import make_card, open_job, seal_result, take_unit

Sent = list[str]  # queues of tickets

SCANNED = ("plan", "scan:0", "scan:1", "scan:2")
PROJECTED = (*SCANNED, "background", "project:0")


@pytest.fixture
def sent() -> Sent:
    return []


@pytest.fixture
def scheduler(board: Board, store: Store, sent: Sent) -> Scheduler:
    return Scheduler(board, store, sent.append, Settings(shards_in_flight=2))


def finish(board: Board, job: str, *units: str) -> None:
    for unit in units:
        fields: dict[str, Any] = {"shards_total": 3, "layers_total": 2} if unit == "plan" else {}
        board.units.finish(job, unit, fields=fields)


@pytest.mark.parametrize(
    ("done", "phase", "units"),
    [
        ((), "planning", ("plan",)),
        (("plan",), "scanning", ("scan:0", "scan:1", "scan:2")),
        (("plan", "scan:0", "scan:2"), "scanning", ("scan:1",)),
        (SCANNED, "calibrating", ("background",)),
        ((*SCANNED, "background"), "calibrating", ("project:0",)),
        (PROJECTED, "merging", ("merge:0", "merge:1")),
        ((*PROJECTED, "merge:0", "merge:1"), "closing", ("close",)),
    ],
)
def test_the_step_follows_from_what_is_done(
    board: Board, done: tuple[str, ...], phase: str, units: tuple[str, ...]
) -> None:
    job = open_job(board)
    finish(board, job.id, *done)
    found = board.jobs.get(job.id)
    assert found is not None

    due = due_of(found, board.units.list_done(job.id))

    assert due is not None
    assert (due.phase, due.units) == (phase, units)


@pytest.mark.parametrize(
    ("done", "phase", "units"),
    [
        ((), "calibrating", ("calibrate:0", "calibrate:1")),
        (("calibrate:1",), "calibrating", ("calibrate:0",)),
        (("calibrate:0", "calibrate:1"), "calibrating", ("bands",)),
        (("calibrate:0", "calibrate:1", "bands"), "scanning", ("scan:0", "scan:1", "scan:2")),
        (("bands", "scan:0"), "scanning", ("scan:1", "scan:2")),
    ],
)
def test_nothing_is_scanned_before_the_bands_are_fixed(
    board: Board, done: tuple[str, ...], phase: str, units: tuple[str, ...]
) -> None:
    job = open_job(board)
    board.units.finish(
        job.id, "plan", fields={"shards_total": 3, "layers_total": 2, "calibration_parts": 2}
    )
    finish(board, job.id, *done)
    found = board.jobs.get(job.id)
    assert found is not None

    due = due_of(found, board.units.list_done(job.id))

    assert due is not None
    assert (due.phase, due.units) == (phase, units)


@pytest.mark.parametrize(
    ("done", "units"),
    [
        ((), ("norms:0", "norms:1")),
        (("norms:0", "norms:1"), ("calibrate:0", "calibrate:1")),
        (("norms:0", "norms:1", "calibrate:0", "calibrate:1"), ("bands",)),
        (("bands",), ("scan:0", "scan:1", "scan:2")),
    ],
)
def test_all_norms_are_measured_before_peaks_are_that_leave_sinks_out(
    board: Board, done: tuple[str, ...], units: tuple[str, ...]
) -> None:
    job = open_job(board, tokens={"exclude_sinks": 8.0})
    board.units.finish(
        job.id, "plan", fields={"shards_total": 3, "layers_total": 2, "calibration_parts": 2}
    )
    finish(board, job.id, *done)
    found = board.jobs.get(job.id)
    assert found is not None

    due = due_of(found, board.units.list_done(job.id))

    assert due is not None
    assert due.units == units


def open_check(board: Board) -> str:
    request = ActivationsRequest("job_" + "0" * 28, "tiny-gated", "a text", ((0, 0),), 50)
    return board.jobs.open(request).job


def test_what_waits_as_a_job_opens_is_what_is_due_first(board: Board) -> None:
    for job in board.jobs.get_many([open_job(board).id, open_check(board)]):
        due = due_of(job, set())

        assert due is not None
        assert due.units == (FIRST_UNITS[job.kind],)


def test_a_live_check_is_one_unit_that_goes_before_others(
    board: Board, scheduler: Scheduler, sent: Sent
) -> None:
    check = open_check(board)

    scheduler.advance(open_job(board, priority="high").id)
    scheduler.advance_all()
    taken = board.units.take(["default"], lease_s=30)
    board.units.finish(check, "activate")
    scheduler.advance_all()

    assert taken is not None
    assert (taken.job, taken.unit) == (check, "activate")
    found = board.jobs.get(check)
    assert found is not None
    assert found.status == "succeeded"


def test_a_live_check_whose_worker_dies_each_time_fails(
    board: Board, scheduler: Scheduler, sent: Sent
) -> None:
    check = open_check(board)
    for _ in range(3):
        scheduler.advance(check)
        lease = board.units.take(["default"], lease_s=30)
        assert lease is not None
        board.units.release(lease)

    scheduler.advance(check)

    found = board.jobs.get(check)
    assert found is not None
    assert found.error is not None
    assert (len(sent), found.error["code"]) == (2, "too_many_attempts")


def test_no_more_is_sent_than_may_be_in_flight(
    board: Board, scheduler: Scheduler, sent: Sent
) -> None:
    job = open_job(board, priority="high").id
    finish(board, job, "plan")

    scheduler.advance(job)
    scheduler.advance(job)
    assert board.units.count_waiting()["default", "high"] == len(sent) == 2

    finish(board, job, "scan:0")
    scheduler.advance(job)
    taken = [lease.unit for _ in range(4) if (lease := board.units.take(["default"], lease_s=30))]
    assert (len(sent), taken) == (3, ["scan:1", "scan:2"])


def test_a_lost_ticket_is_replaced(
    board: Board, scheduler: Scheduler, sent: Sent, redis_url: str
) -> None:
    finish(board, open_job(board).id, "plan")
    scheduler.advance_all()
    assert (
        sent == ["default"] * 4
    )  # the tickets went nowhere, and a round sends as many as units wait

    app = connect_queue(redis_url)
    for queue in sent[:2]:
        send_ticket(app, queue)
    scheduler.advance_all()

    assert len(sent) == 4


def test_units_wait_in_the_queue_of_their_model(
    board: Board, scheduler: Scheduler, sent: Sent
) -> None:
    board.registry.put_card(make_card(queue="big"))
    job = open_job(board).id

    scheduler.advance(job)

    found = board.jobs.get(job)
    assert found is not None
    assert (sent, found.queue) == (["big"], "big")
    assert board.units.take(["default"], lease_s=30) is None
    assert board.units.take(["default", "big"], lease_s=30) is not None


def test_a_job_whose_last_unit_is_done_succeeds_and_keeps_only_its_result(
    board: Board, store: Store, scheduler: Scheduler
) -> None:
    job = open_job(board).id
    store.write(f"{Layout.work(job)}/x", b"x")
    store.write(f"{Layout.result(job)}/x", b"x")
    seal_result(store, job)
    finish(board, job, "close")

    scheduler.advance(job)

    found = board.jobs.get(job)
    assert found is not None
    assert found.status == "succeeded"
    assert (store.exists(Layout.work(job)), store.exists(Layout.result(job))) == (False, True)


def test_nobody_waits_for_work_files_to_be_deleted(
    board: Board, store: Store, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = open_job(board).id
    store.write(f"{Layout.work(job)}/x", b"x")
    seal_result(store, job)
    finish(board, job, "close")
    monkeypatch.setattr(Store, "delete", Mock(side_effect=OSError("the store went away")))

    with pytest.raises(OSError, match="went away"):
        scheduler.advance(job)
    found = board.jobs.get(job)
    monkeypatch.undo()
    scheduler.tidy_all()

    assert found is not None
    assert found.status == "succeeded"
    assert not store.exists(Layout.work(job))


def test_a_unit_that_failed_as_often_as_allowed_fails_its_job(
    board: Board, scheduler: Scheduler
) -> None:
    job = open_job(board).id
    for _ in range(3):
        scheduler.advance(job)
        lease = take_unit(board, job, "plan", lease_s=30)
        assert lease is not None
        scheduler.advance(job)
        board.units.note_failure(job, "plan", "OSError: disk")
        board.units.release(lease)

    scheduler.advance(job)

    found = board.jobs.get(job)
    assert found is not None
    assert found.status == "failed"
    assert found.error is not None
    assert found.error["code"] == "too_many_attempts"
    assert "plan did not end in 3 attempts: plan: OSError: disk" in found.error["detail"]


def test_what_a_job_failed_of_names_no_place_on_the_server(
    board: Board, scheduler: Scheduler
) -> None:
    job = open_job(board).id
    why = "[Errno 13] Permission denied: '/srv/secret/store/work/job_1/plan.json'"

    scheduler.fail(job, "model_load_failed", why)

    found = board.jobs.get(job)
    assert found is not None
    assert found.error is not None
    assert found.error["detail"] == "[Errno 13] Permission denied: '…/plan.json'"


def test_a_cancelled_job_ends_when_no_worker_holds_a_unit(
    board: Board, store: Store, scheduler: Scheduler
) -> None:
    job = open_job(board).id
    lease = take_unit(board, job, "plan", lease_s=30)
    assert lease is not None
    store.write(f"{Layout.result(job)}/x", b"x")
    board.jobs.cancel(job)

    scheduler.advance(job)
    held = board.jobs.get(job)
    board.units.release(lease)
    scheduler.advance(job)
    ended = board.jobs.get(job)

    assert held is not None
    assert ended is not None
    assert (held.status, ended.status) == ("cancelling", "cancelled")
    assert not store.exists(Layout.result(job))


def test_four_reconcilers_at_once_send_each_unit_once(board: Board, store: Store) -> None:
    sent: Sent = []
    settings = Settings(shards_in_flight=2)
    schedulers = [Scheduler(board, store, sent.append, settings) for _ in range(4)]
    jobs = [open_job(board).id for _ in range(5)]
    for job in jobs:
        finish(board, job, "plan")

    threads = [threading.Thread(target=s.advance_all) for s in schedulers for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert board.units.count_waiting()["default", "normal"] == 10
    assert len(sent) >= 10


def test_one_jobs_trouble_does_not_hold_up_the_others(
    board: Board, scheduler: Scheduler, sent: Sent
) -> None:
    broken, sound = open_job(board).id, open_job(board).id
    board._redis.hset(f"polyseme:job:{broken}", "request", "no JSON")

    scheduler.advance_all()

    lease = board.units.take(["default"], lease_s=30)
    assert lease is not None
    assert lease.job == sound
    assert sent
    assert board.jobs.list_active() == [sound]
    assert board.jobs.read_tag(broken) == (2, "failed")


def test_a_record_of_a_newer_version_that_cannot_be_read_is_left_to_newer_workers(
    board: Board, scheduler: Scheduler
) -> None:
    newer = open_job(board).id
    changes = {"request": '{"of": "another time"}', "version": JOB_VERSION + 1}
    board._redis.hset(f"polyseme:job:{newer}", mapping=changes)

    scheduler.advance_all()

    assert board.jobs.list_active() == [newer]


def test_what_a_dead_worker_left_of_an_ended_job_is_removed(
    board: Board, store: Store, scheduler: Scheduler
) -> None:
    ended, running = open_job(board).id, open_job(board).id
    board.jobs.end(ended, "failed", {"code": "c", "detail": "d"})
    for job in (ended, running):
        store.write(f"{Layout.work(job)}/partials/000000.npz", b"late")
        store.write(f"{Layout.result(job)}/manifest.json", b"late")

    scheduler.tidy_all()

    assert store.names("work") == store.names("results") == [running]


def test_failing_a_job_that_succeeded_keeps_its_result(
    board: Board, store: Store, scheduler: Scheduler
) -> None:
    job = open_job(board).id
    board.jobs.end(job, "succeeded")
    store.write(f"{Layout.result(job)}/manifest.json", b"kept")

    scheduler.fail(job, "analysis_failed", "said by a worker that came late")

    assert store.names(Layout.result(job)) == ["manifest.json"]


def test_a_unit_in_its_last_attempt_is_not_sent_again(
    board: Board, scheduler: Scheduler, sent: Sent
) -> None:
    job = open_job(board).id
    for _ in range(3):
        lease = take_unit(board, job, "plan", lease_s=30)
        assert lease is not None
        last = lease
        if lease.attempt < 3:
            board.units.release(lease)
    asked = board.units.first_idle

    def ends_meanwhile(job: str, units: list[str]) -> str | None:
        found = asked(job, units)
        board.units.release(last)
        return found

    board.units.first_idle = ends_meanwhile  # type: ignore[method-assign,assignment]
    scheduler.advance(job)

    assert sent == []


def test_a_job_that_is_past_its_deadline_fails(
    board: Board, store: Store, scheduler: Scheduler
) -> None:
    late, early = open_job(board, deadline_s=1).id, open_job(board, deadline_s=60).id
    store.write(f"{Layout.work(late)}/x", b"x")
    held = take_unit(board, late, "plan", lease_s=30)
    assert held is not None
    scheduler.advance_all()
    before = board.jobs.get(late)
    time.sleep(1.1)

    scheduler.advance_all()

    after, other = board.jobs.get(late), board.jobs.get(early)
    assert before is not None
    assert after is not None
    assert other is not None
    assert (before.status, other.is_terminal) == ("running", False)
    assert after.error == {"code": "deadline_exceeded", "detail": "it did not end within 1 s"}
    assert board.units.renew(held, lease_s=5) != "running"
    assert not board.units.finish(late, "plan")
    assert not store.exists(Layout.work(late))
