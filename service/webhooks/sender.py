"""`python -m polyseme.service.webhooks.sender`: delivers the events of what ended.

Any number may run; an event is in the hands of one.

A process of its own, so that a slow receiver holds up neither an analysis nor the API, and so that
a network policy can allow it, and nothing else, to reach the outside.
"""

from __future__ import annotations

import logging
import logging.config
import os
import random
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import redis

from polyseme.contract.board.board import Board
from polyseme.contract.board.connection import connect_redis
from polyseme.contract.board.outbox import Outbox, Taken
from polyseme.contract.logs import logging_config
from polyseme.contract.records.job import Delivery, DeliveryState, is_batch
from polyseme.contract.settings import Settings
from polyseme.service.jobs.show import job_to_dict
from polyseme.service.jobs.submit_batches import show_batch
from polyseme.service.outbound.addresses import Allowed
from polyseme.service.outbound.delivery import Outcome, Poster
from polyseme.service.webhooks.events import batch_event_of, event_of, sign

log = logging.getLogger("polyseme.sender")

# From one attempt to the next: twelve attempts in about a day.
DELAYS_S = (5, 30, 120, 600, 1800, 3600, 7200, 14400, 14400, 21600, 21600)
JITTER = 0.2  # each way, so that what failed together does not come again together
LEASE_S = 60.0  # of an attempt, which takes 10 s and what the resolver takes
ATTEMPTS_AT_ONCE = 16
_IDLE_S = 0.5


def delay_after(attempts: int, random_unit: float) -> float | None:
    """Seconds to the next attempt; None when there is none. random_unit: 0..1."""
    if attempts > len(DELAYS_S):
        return None
    return DELAYS_S[attempts - 1] * (1 + JITTER * (2 * random_unit - 1))


@dataclass(frozen=True)
class Due:
    """An event that is to be sent."""

    tenant: str
    delivery: Delivery
    event: str  # its id
    body: bytes


@dataclass(frozen=True)
class Sender:
    board: Board
    outbox: Outbox
    poster: Poster

    def deliver(self, taken: Taken) -> Outcome | None:
        """Makes one attempt, and notes how it went.

        None when the job, or the batch, was deleted meanwhile.
        """
        due = self._read_batch(taken.job) if is_batch(taken.job) else self._read_job(taken.job)
        if due is None:
            return None
        headers = sign(self.outbox.list_secrets(due.tenant), due.event, int(time.time()), due.body)
        outcome = self.poster.post(due.delivery.url, due.body, headers)
        self._settle(taken, outcome, due.delivery.attempts)
        return outcome

    def _read_job(self, name: str) -> Due | None:
        job = self.board.jobs.get(name)
        if job is None or job.webhook is None:
            return None
        shown = job_to_dict(job, base=job.origin.get("base", ""))
        return Due(job.tenant, job.webhook, *event_of(job, shown))

    def _read_batch(self, name: str) -> Due | None:
        batch = self.board.batches.get(name)
        if batch is None or batch.webhook is None:
            return None
        shown = show_batch(self.board, batch, batch.origin.get("base", ""))
        return Due(batch.tenant, batch.webhook, *batch_event_of(batch, shown))

    def _settle(self, taken: Taken, outcome: Outcome, attempts: int) -> None:
        delay = None if outcome.is_final else delay_after(attempts, random.random())
        state: DeliveryState = (
            "delivered" if outcome.error is None else "failed" if delay is None else "pending"
        )
        self.outbox.settle(
            taken, state, status=outcome.status, error=outcome.error or "", delay_s=delay
        )
        # Not the URL, which is often a secret; the job shows it.
        log.info("%s, attempt %d: %s (%s)", taken.job, attempts, state, outcome.error or "taken")


def run_sender(sender: Sender, stop: threading.Event) -> None:
    """Until `stop` is set; then waits for the attempts under way, at most their 10 s."""
    free = threading.Semaphore(ATTEMPTS_AT_ONCE)

    def attempt(taken: Taken) -> None:
        try:
            sender.deliver(taken)
        except redis.RedisError as e:
            log.warning(
                "%s: the board does not answer; the event is due again in a minute: %s",
                taken.job,
                e,
            )
        except Exception:
            log.exception("%s: the attempt failed", taken.job)
        finally:
            free.release()

    with ThreadPoolExecutor(ATTEMPTS_AT_ONCE, "attempt") as attempts:
        while not stop.is_set():
            free.acquire()
            taken = _take(sender.outbox)
            if taken is None:
                free.release()
                stop.wait(_IDLE_S)
            else:
                attempts.submit(attempt, taken)


def _take(outbox: Outbox) -> Taken | None:
    try:
        return outbox.take(lease_s=LEASE_S)
    except redis.RedisError as e:
        log.warning("the board does not answer: %s", e)
        return None


def main() -> int:
    logging.config.dictConfig(logging_config("text"))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = Settings.from_environ(os.environ)
        logging.config.dictConfig(logging_config(settings.log_format, settings.folders()))
        poster = Poster(Allowed.parse(settings.webhook_allow))
    except ValueError as e:
        log.error("%s", e)
        return 2
    client = connect_redis(settings.redis_url)
    sender = Sender(Board(client), Outbox(client), poster)
    log.info("sending")
    run_sender(sender, stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
