"""Batches on a real Redis: opened whole, ended with their last job, with one event."""

from __future__ import annotations

from typing import Any

import pytest

from polyseme.contract.board.batches import Batch, NewJob
from polyseme.contract.board.board import Board
from polyseme.contract.board.outbox import Outbox
from polyseme.contract.errors import DamagedRecord
from polyseme.contract.records.tenants import Quotas
from tests.factories import make_request, run_job, take_unit

URL = "https://example.org/polyseme"
FULL = {v: {"code": v, "errors": []} for v in ("full", "jobs", "tokens")}


def new_jobs(count: int, tokens: int = 100) -> list[NewJob]:
    return [NewJob(i, make_request(), tokens) for i in range(count)]


def open_batch(board: Board, count: int = 3, **options: Any) -> Batch:
    refused = options.pop("refused", {})
    opened = board.batches.open(
        options.pop("jobs", new_jobs(count)), refused, full=FULL, **{"atomic": True} | options
    )
    assert opened.verdict == "opened"
    return get(board, opened.batch)


def get(board: Board, batch: str) -> Batch:
    found = board.batches.get(batch)
    assert found is not None
    return found


def end_all(board: Board, batch: Batch, status: str = "succeeded", *, keep_s: float = 0) -> None:
    for job in board.batches.list_open_jobs(batch.id):
        board.jobs.end(job, status, keep_s=keep_s)


def test_a_batch_opens_with_all_its_jobs_in_their_order(board: Board) -> None:
    batch = open_batch(board, 5, metadata={"run": "7"})

    ids = board.batches.list_jobs(batch.id)
    jobs = board.jobs.get_many(ids)
    assert (batch.status, batch.fraction, batch.metadata) == ("running", 0.0, {"run": "7"})
    assert batch.counts == {**dict.fromkeys(batch.counts, 0), "queued": 5}
    assert [j.batch for j in jobs] == [batch.id] * 5
    assert [j.id for j in list(board.jobs.newest_first())] == ids[::-1]
    assert board.jobs.list_active() == ids
    assert [(e.index, e.job, e.status) for e in board.batches.list_entries(batch.id)] == [
        (i, job, "queued") for i, job in enumerate(ids)
    ]


def test_a_batch_ends_with_its_last_job_however_that_ends(board: Board) -> None:
    batch = open_batch(board, 3)
    first, second, third = board.batches.list_jobs(batch.id)

    run_job(board, first)
    board.jobs.end(second, "failed", {"code": "x", "detail": "y"})
    before = get(board, batch.id)
    board.jobs.end(third, "cancelled")

    after = get(board, batch.id)
    assert (before.status, before.finished_at, before.fraction) == (
        "running",
        None,
        pytest.approx(2 / 3),
    )
    assert (after.status, after.fraction) == ("ended", 1.0)
    assert after.finished_at is not None
    assert [after.counts[s] for s in ("succeeded", "failed", "cancelled", "queued")] == [1, 1, 1, 0]


def test_a_job_that_is_ended_twice_counts_once(board: Board) -> None:
    batch = open_batch(board, 2)
    job = board.batches.list_jobs(batch.id)[0]

    board.jobs.end(job, "failed")
    board.jobs.end(job, "succeeded")

    assert get(board, batch.id).counts["failed"] == 1
    assert not get(board, batch.id).is_terminal


def test_every_change_of_a_job_is_a_new_revision_of_its_batch(board: Board) -> None:
    batch = open_batch(board, 1)
    (job,) = board.batches.list_jobs(batch.id)
    seen = [batch.revision]

    lease = take_unit(board, job, "plan", lease_s=30)
    assert lease is not None
    seen.append(get(board, batch.id).revision)
    board.units.finish(job, "plan", fields={"tokens_total": 100})
    seen.append(get(board, batch.id).revision)
    scan = take_unit(board, job, "scan:0", lease_s=30)
    assert scan is not None
    board.units.renew(scan, lease_s=30, tokens=40)
    found = get(board, batch.id)
    seen.append(found.revision)
    board.jobs.end(job, "succeeded")
    seen.append(get(board, batch.id).revision)

    assert seen == sorted(set(seen))
    assert (found.fraction, found.counts["running"]) == (0.4, 1)
    assert board.batches.read_tag(batch.id) == (seen[-1], "ended")


def test_the_event_is_due_when_the_last_job_has_ended_and_not_before(
    board: Board, redis_url: str
) -> None:
    outbox = Outbox.connect(redis_url)
    batch = open_batch(board, 2, webhook=URL)
    first, second = board.batches.list_jobs(batch.id)

    board.jobs.end(first, "succeeded")
    early = outbox.take(lease_s=30)
    board.jobs.end(second, "failed")
    taken = outbox.take(lease_s=30)

    assert early is None
    assert taken is not None
    assert taken.job == batch.id
    assert outbox.settle(taken, "delivered", status=204)
    found = get(board, batch.id).webhook
    assert found is not None
    assert (found.url, found.state, found.attempts, outbox.count()) == (URL, "delivered", 1, 0)


def test_the_event_of_a_deleted_batch_is_dropped(board: Board, redis_url: str) -> None:
    outbox = Outbox.connect(redis_url)
    batch = open_batch(board, 1, webhook=URL)
    end_all(board, batch)

    assert board.batches.delete_record(batch.id) == "deleted"

    assert outbox.take(lease_s=30) is None
    assert outbox.count() == 0


def test_one_idempotency_key_opens_one_batch(board: Board) -> None:
    opened = [
        board.batches.open(new_jobs(2), {}, atomic=True, full=FULL, idempotency=("k", digest, 60))
        for digest in ("a", "a", "b")
    ]

    assert [o.verdict for o in opened] == ["opened", "replayed", "mismatch"]
    assert opened[0].batch == opened[1].batch
    assert board.jobs.count_active() == 2
    assert board.batches.find_submitted("k", "another") is None


@pytest.mark.parametrize(
    ("limits", "verdict"),
    [
        ({"max_active": 3}, "full"),
        ({"quotas": Quotas(3, 0, 0, 0)}, "jobs"),
        ({"quotas": Quotas(0, 350, 0, 0)}, "tokens"),
    ],
)
def test_what_does_not_fit_refuses_an_atomic_batch_and_only_the_rest_of_another(
    board: Board, limits: dict[str, Any], verdict: str
) -> None:
    whole = board.batches.open(new_jobs(5), {}, atomic=True, full=FULL, **limits)
    assert (whole.verdict, board.jobs.count_active()) == (verdict, 0)

    batch = open_batch(board, 5, atomic=False, **limits)
    more = board.batches.open(new_jobs(1), {}, atomic=False, full=FULL, **limits)

    entries = board.batches.list_entries(batch.id)
    assert [e.job is not None for e in entries] == [True, True, True, False, False]
    assert [e.problem and e.problem["code"] for e in entries[2:]] == [None, verdict, verdict]
    assert (batch.refused, more.verdict, board.jobs.count_active()) == (2, verdict, 3)


def test_refused_entries_keep_their_problems(board: Board) -> None:
    jobs = [NewJob(i, make_request(), 0) for i in (0, 2)]
    problem = {"status": 422, "code": "unknown_layer", "detail": "d", "errors": []}

    batch = open_batch(board, jobs=jobs, refused={1: problem}, atomic=False)

    found = board.batches.list_entries(batch.id)
    assert [e.index for e in found] == [0, 1, 2]
    assert (found[1].job, found[1].problem) == (None, problem)
    assert (batch.refused, batch.counts["queued"]) == (1, 2)


def test_cancelling_asks_every_job_for_its_end(board: Board) -> None:
    batch = open_batch(board, 3)
    ended, held, idle = board.batches.list_jobs(batch.id)
    board.jobs.end(ended, "succeeded")
    assert take_unit(board, held, "plan", lease_s=30) is not None

    assert board.batches.cancel(batch.id) == "cancelling"

    assert get(board, batch.id).status == "cancelling"
    assert [j.status for j in board.jobs.get_many([ended, held, idle])] == [
        "succeeded",
        "cancelling",
        "cancelling",
    ]
    end_all(board, batch, "cancelled")
    assert board.batches.cancel(batch.id) == "ended"
    assert board.batches.cancel("bat_unknown") == "gone"


def test_deleting_a_batch_leaves_its_jobs_in_none(board: Board) -> None:
    batch = open_batch(board, 2)
    jobs = board.batches.list_jobs(batch.id)
    assert board.batches.delete_record(batch.id) == "running"
    end_all(board, batch)

    assert board.batches.delete_record(batch.id) == "deleted"

    assert board.batches.get(batch.id) is None
    assert [j.batch for j in board.jobs.get_many(jobs)] == [None, None]
    assert board.batches.list_page() == []
    assert not board._redis.keys("*batch:*")


def test_the_status_of_a_deleted_job_stays_with_the_batch(board: Board) -> None:
    batch = open_batch(board, 2)
    jobs = board.batches.list_jobs(batch.id)
    board.jobs.end(jobs[0], "failed")
    board.jobs.delete_record(jobs[0])

    entries = board.batches.list_entries(batch.id)

    assert [e.status for e in entries] == ["failed", "queued"]
    assert get(board, batch.id).counts["failed"] == 1


def test_a_batch_expires_as_its_last_job_does_and_is_remembered(board: Board) -> None:
    batch = open_batch(board, 2)

    end_all(board, batch, keep_s=0.2)

    ended = get(board, batch.id)
    assert ended.expires_at is not None
    assert ended.finished_at is not None
    assert ended.expires_at == pytest.approx(ended.finished_at + 0.2, abs=0.01)
    board._redis.pexpire(f"polyseme:batch:{batch.id}", 1)
    while board._redis.exists(f"polyseme:batch:{batch.id}"):
        pass
    assert board.batches.list_page() == []
    assert board.jobs.expired_tenant(batch.id) == "default"


def test_a_damaged_batch_is_left_out_of_the_list_and_stays_on_it(board: Board) -> None:
    whole, broken = (open_batch(board).id for _ in range(2))
    board._redis.hset(f"polyseme:batch:{broken}", "metadata", "{")

    assert [b.id for b in board.batches.list_page()] == [whole]
    with pytest.raises(DamagedRecord, match=broken):
        board.batches.get(broken)
    board._redis.hset(f"polyseme:batch:{broken}", "metadata", "{}")
    assert [b.id for b in board.batches.list_page()] == [broken, whole]


def test_pages_of_batches_are_the_whole_list_newest_first(board: Board) -> None:
    ids = [open_batch(board, 1).id for _ in range(5)]
    open_batch(board, 1, tenant="other")

    found: list[Batch] = []
    while page := board.batches.list_page(
        before=(found[-1].created_at, found[-1].id) if found else None, count=2
    ):
        found += page

    assert [b.id for b in found] == ids[::-1]


def test_the_first_units_of_its_jobs_wait_in_their_lanes(board: Board) -> None:
    request = make_request(priority="low")
    queues = ("big", "default", "default")

    batch = open_batch(board, jobs=[NewJob(i, request, 100, q) for i, q in enumerate(queues)])

    waiting = board.units.count_waiting()
    assert (waiting["big", "low"], waiting["default", "low"]) == (1, 2)
    first = board.batches.list_jobs(batch.id)[0]
    lease = board.units.take(["big"], lease_s=30)
    assert lease is not None
    assert (lease.job, lease.unit) == (first, "plan")


def test_a_thousand_jobs_open_in_one_step(board: Board) -> None:
    batch = open_batch(board, 1000)

    assert batch.counts["queued"] == len(set(board.batches.list_jobs(batch.id))) == 1000
