"""The events of ended jobs on a real Redis: recorded with the end, one sender's at a time, never
lost.
"""

from __future__ import annotations

import time

import pytest

from polyseme.contract.board.board import Board
from polyseme.contract.board.outbox import Outbox, Taken
from polyseme.contract.records.job import Delivery
from tests.factories import open_job, run_job

URL = "https://example.org/polyseme"


@pytest.fixture
def outbox(redis_url: str) -> Outbox:
    return Outbox.connect(redis_url)


def delivery(board: Board, job: str) -> Delivery:
    found = board.jobs.get(job)
    assert found is not None
    assert found.webhook is not None
    return found.webhook


def ended(board: Board, status: str = "succeeded") -> str:
    return run_job(board, open_job(board, webhook={"url": URL}).id, status=status).id


def take(outbox: Outbox, lease_s: float = 30) -> Taken:
    taken = outbox.take(lease_s=lease_s)
    assert taken is not None
    return taken


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_an_event_is_due_as_soon_as_the_job_has_ended(
    board: Board, outbox: Outbox, status: str
) -> None:
    job = open_job(board, webhook={"url": URL}).id
    assert delivery(board, job) == Delivery(URL, "waiting", 0, None, None, None)
    assert outbox.take(lease_s=30) is None

    run_job(board, job, status=status)

    assert delivery(board, job).state == "pending"
    assert take(outbox).job == job


@pytest.mark.parametrize("changes", [{}, {"webhook": None}])
def test_a_job_without_a_webhook_has_no_event(
    board: Board, outbox: Outbox, changes: dict[str, None]
) -> None:
    job = run_job(board, open_job(board, **changes).id)

    assert job.webhook is None
    assert outbox.count() == 0


def test_an_event_is_in_the_hands_of_one_sender(board: Board, outbox: Outbox) -> None:
    job = ended(board)
    take(outbox)

    assert outbox.take(lease_s=30) is None
    assert delivery(board, job).attempts == 1


def test_an_event_whose_sender_died_is_due_again(board: Board, outbox: Outbox) -> None:
    job = ended(board)
    lost = take(outbox, lease_s=0.05)
    time.sleep(0.1)

    again = take(outbox)

    assert again.job == job
    assert delivery(board, job).attempts == 2
    assert not outbox.settle(lost, "failed", error="too late")
    assert outbox.settle(again, "delivered", status=204)
    assert delivery(board, job) == Delivery(URL, "delivered", 2, 204, None, None)
    assert outbox.count() == 0


def test_a_failed_attempt_says_why_and_when_the_next_one_is(board: Board, outbox: Outbox) -> None:
    job = ended(board)

    outbox.settle(take(outbox), "pending", status=500, error="answered 500", delay_s=0.2)

    found = delivery(board, job)
    assert (found.state, found.last_status, found.last_error) == ("pending", 500, "answered 500")
    assert found.next_attempt_at == pytest.approx(time.time() + 0.2, abs=1)
    assert outbox.take(lease_s=30) is None
    time.sleep(0.25)
    assert take(outbox).job == job


def test_an_event_that_was_given_up_is_not_due_again(board: Board, outbox: Outbox) -> None:
    job = ended(board)

    outbox.settle(take(outbox), "failed", error="ConnectError: refused")

    assert delivery(board, job) == Delivery(URL, "failed", 1, None, "ConnectError: refused", None)
    assert outbox.count() == 0


def test_the_event_of_a_deleted_job_is_dropped(board: Board, outbox: Outbox) -> None:
    board.jobs.delete_record(ended(board))
    other = ended(board)

    assert take(outbox).job == other
    assert outbox.count() == 1


def test_the_secret_is_made_once_and_both_sign_after_a_rotation(outbox: Outbox) -> None:
    (first,) = outbox.list_secrets("default")
    assert first.startswith("whsec_")
    assert outbox.list_secrets("default") == [first]

    second = outbox.rotate_secret("default")

    assert outbox.list_secrets("default") == [second, first]
    assert outbox.list_secrets("another") not in ([first], [second])
