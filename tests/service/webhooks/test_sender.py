"""Events delivered from a real board to a real receiver, signed, again and again until they are
taken or given up.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from polyseme.contract.board.board import Board
from polyseme.contract.board.outbox import Outbox
from polyseme.contract.records.job import Delivery, Job
from polyseme.contract.settings import Settings
from polyseme.service.outbound.addresses import Allowed
from polyseme.service.outbound.delivery import Poster
from polyseme.service.webhooks.sender import DELAYS_S, JITTER, Sender, delay_after, run_sender
from tests.client.standins import wait_until
from tests.factories import open_job, run_job
from tests.service.receiver import Post, Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def outbox(redis_url: str) -> Outbox:
    return Outbox.connect(redis_url)


@pytest.fixture
def sender(board: Board, outbox: Outbox) -> Sender:
    return Sender(board, outbox, Poster(Allowed.parse("127.0.0.1"), timeout_s=2))


def end(board: Board, url: str, status: str = "succeeded") -> Job:
    return run_job(board, open_job(board, webhook={"url": url}).id, status=status)


def delivery(board: Board, job: str) -> Delivery:
    found = board.jobs.get(job)
    assert found is not None
    assert found.webhook is not None
    return found.webhook


def attempt(sender: Sender) -> None:
    taken = sender.outbox.take(lease_s=30)
    assert taken is not None
    sender.deliver(taken)


def make_due(outbox: Outbox, job: str) -> None:
    outbox._redis.zadd("polyseme:webhooks", {job: 0})


def verify(secret: str, post: Post) -> Any:
    return Webhook(secret).verify(post.body, post.headers)


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_an_event_says_how_the_job_ended(
    board: Board, sender: Sender, receiver: Receiver, status: str
) -> None:
    job = end(board, receiver.url, status)

    attempt(sender)

    (post,) = receiver.posts
    event = verify(sender.outbox.list_secrets("default")[0], post)
    assert event["type"] == f"job.{status}"
    assert (event["data"]["id"], event["data"]["status"]) == (job.id, status)
    assert datetime.fromisoformat(event["timestamp"]) == datetime.fromisoformat(
        event["data"]["finished_at"]
    )
    assert "webhook" not in event["data"]
    assert delivery(board, job.id) == Delivery(receiver.url, "delivered", 1, 204, None, None)


def test_a_body_that_was_changed_does_not_verify(
    board: Board, sender: Sender, receiver: Receiver
) -> None:
    end(board, receiver.url)
    attempt(sender)
    (post,) = receiver.posts
    (secret,) = sender.outbox.list_secrets("default")

    with pytest.raises(WebhookVerificationError):
        verify(secret, Post(post.path, post.headers, post.body.replace(b"succeeded", b"cancelled")))


def test_both_secrets_sign_after_a_rotation(
    board: Board, sender: Sender, receiver: Receiver
) -> None:
    old = sender.outbox.list_secrets("default")[0]
    new = sender.outbox.rotate_secret("default")
    end(board, receiver.url)

    attempt(sender)

    assert verify(old, receiver.posts[0]) == verify(new, receiver.posts[0])


def test_every_attempt_sends_the_same_event(
    board: Board, sender: Sender, receiver: Receiver
) -> None:
    receiver.answers = [500, 302, 204]
    job = end(board, receiver.url)

    for _ in range(3):
        make_due(sender.outbox, job.id)
        attempt(sender)

    assert len({(p.headers["webhook-id"], p.body) for p in receiver.posts}) == 1
    assert len(receiver.posts) == 3
    assert delivery(board, job.id) == Delivery(receiver.url, "delivered", 3, 204, None, None)


def test_it_is_given_up_after_the_last_attempt_and_the_job_says_so(
    board: Board, sender: Sender, receiver: Receiver
) -> None:
    receiver.answers = [503] * 20
    job = end(board, receiver.url)
    states = []

    for _ in range(len(DELAYS_S) + 1):
        make_due(sender.outbox, job.id)
        attempt(sender)
        states.append(delivery(board, job.id).state)

    assert states == ["pending"] * len(DELAYS_S) + ["failed"]
    assert delivery(board, job.id) == Delivery(
        receiver.url, "failed", 12, 503, "answered 503", None
    )
    assert sender.outbox.count() == 0


def test_a_receiver_that_is_gone_is_not_asked_again(
    board: Board, sender: Sender, receiver: Receiver
) -> None:
    receiver.answers = [410]
    job = end(board, receiver.url)

    attempt(sender)

    assert delivery(board, job.id).state == "failed"


def test_attempts_are_spread_over_about_a_day() -> None:
    middle = [delay_after(n, 0.5) for n in range(1, len(DELAYS_S) + 1)]

    assert middle == list(DELAYS_S)
    assert 22 * 3600 < sum(DELAYS_S) < 26 * 3600
    assert delay_after(len(DELAYS_S) + 1, 0.5) is None
    for n, plain in enumerate(DELAYS_S, 1):
        delay = delay_after(n, random.random())
        assert delay is not None
        assert (1 - JITTER) * plain <= delay <= (1 + JITTER) * plain


def test_a_slow_receiver_does_not_hold_up_the_others(
    board: Board, sender: Sender, receiver: Receiver
) -> None:
    stop = threading.Event()
    with receiving() as slow:
        slow.drip_s = 0.2
        stuck = [end(board, slow.url).id for _ in range(4)]
        other = end(board, receiver.url).id
        thread = threading.Thread(target=run_sender, args=(sender, stop))
        began = time.monotonic()
        thread.start()

        wait_until(lambda: delivery(board, other).state == "delivered", 20)
        took_s = time.monotonic() - began
        wait_until(lambda: all(delivery(board, j).last_error for j in stuck), 20)
        stop.set()
        thread.join(10)

    assert took_s < 1.5
    assert all(delivery(board, j).state == "pending" for j in stuck)


def test_two_senders_deliver_each_event_once(
    board: Board, redis_url: str, receiver: Receiver, settings: Settings, tmp_path: Path
) -> None:
    jobs = [end(board, receiver.url).id for _ in range(30)]
    environ = os.environ | settings.to_environ() | {"POLYSEME_WEBHOOK_ALLOW": "127.0.0.1"}
    command = [sys.executable, "-m", "polyseme.service.webhooks.sender"]
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        senders = [subprocess.Popen(command, env=environ, stderr=stderr) for _ in range(2)]
        try:
            wait_until(lambda: all(delivery(board, j).state == "delivered" for j in jobs), 20)
            wait_until(
                lambda: log.read_text().count("sending") == 2, 20
            )  # the slower one has begun too
        finally:
            for process in senders:
                process.send_signal(signal.SIGTERM)
            codes = [process.wait(20) for process in senders]

    assert sorted(json.loads(p.body)["data"]["id"] for p in receiver.posts) == sorted(jobs)
    assert codes == [0, 0]
    assert "/hook" not in log.read_text()
