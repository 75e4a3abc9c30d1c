"""Waiting for a job or a batch to change.

A waiter holds a server thread, so there is a limit on waiters.

Long polls (`Prefer: wait`) and event streams share the slots.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from polyseme.contract.board.batches import Batch
from polyseme.contract.errors import Unavailable
from polyseme.contract.records.job import Job
from polyseme.service.http.thread_slots import ThreadSlots
from polyseme.service.waiting.watch import POLL_S, Watch

RETRY_S = 5

W = TypeVar("W")
# From what was read last to what is read when the wait ends.
Follow = Callable[[W, Callable[[W], bool], float], W]


class WaitRoom:
    """Who finds no slot gets the present state."""

    def __init__(self, slots: ThreadSlots, watch: Watch) -> None:
        self._slots = slots
        self.watch = watch

    def wait(self, job: Job, is_over: Callable[[Job], bool], seconds: float) -> tuple[Job, bool]:
        """The job once `is_over`, or as it is after `seconds`; and whether the wait was granted."""
        return self._wait(job, is_over, seconds, self._follow)

    def wait_for_batch(
        self,
        batch: Batch,
        read: Callable[[str], Batch | None],
        is_over: Callable[[Batch], bool],
        seconds: float,
    ) -> tuple[Batch, bool]:
        """As `wait`. Batches are few, so each is read for its own."""
        return self._wait(batch, is_over, seconds, partial(_poll, read))

    def _wait(
        self, seen: W, is_over: Callable[[W], bool], seconds: float, follow: Follow[W]
    ) -> tuple[W, bool]:
        if seconds <= 0 or is_over(seen):
            return seen, seconds > 0
        if not self._slots.acquire():
            return seen, False
        try:
            return follow(seen, is_over, seconds), True
        finally:
            self._slots.release()

    def _follow(self, job: Job, is_over: Callable[[Job], bool], seconds: float) -> Job:
        with self.watch.subscribe(job.id) as subscription:
            snapshot = subscription.wait(lambda s: is_over(s.job), seconds)
        return snapshot.job if snapshot else job

    def enter(self) -> Callable[[], None]:
        """Takes a slot, and gives what releases it; calling that again does nothing.

        Raises Unavailable when full.
        """
        if not self._slots.acquire():
            raise Unavailable(
                "as many clients wait for jobs as may: poll the job, or try again",
                retry_after_s=RETRY_S,
            )
        held = [self._slots]

        def release() -> None:
            if held:
                held.pop().release()

        return release


def _poll(
    read: Callable[[str], Batch | None],
    batch: Batch,
    is_over: Callable[[Batch], bool],
    seconds: float,
) -> Batch:
    deadline = time.monotonic() + seconds
    while not is_over(batch) and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(POLL_S, left))
        current = read(batch.id)
        if current is None:
            return batch
        batch = current
    return batch
