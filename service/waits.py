"""Waiting for a job or a batch to change. A waiter holds a server thread, so there is a limit on waiters.

Long polls (`Prefer: wait`) and event streams share the places.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from contract.batches import Batch
from contract.errors import Unavailable
from contract.records import Job
from service.places import Places
from service.watch import POLL_S, Watch

RETRY_S = 5

W = TypeVar("W")
Look = Callable[[W, Callable[[W], bool], float], W]  # from what was seen last to what is seen when the wait ends


class WaitRoom:
    """Who finds no place gets the present state."""

    def __init__(self, places: Places, watch: Watch) -> None:
        self._places = places
        self.watch = watch

    def wait(self, job: Job, is_over: Callable[[Job], bool], seconds: float) -> tuple[Job, bool]:
        """The job once `is_over`, or as it is after `seconds`; and whether the wait was granted."""
        return self._wait(job, is_over, seconds, self._follow)

    def wait_for_batch(
        self, batch: Batch, read: Callable[[str], Batch | None], is_over: Callable[[Batch], bool], seconds: float
    ) -> tuple[Batch, bool]:
        """As `wait`. Batches are few, so each is read for its own."""
        return self._wait(batch, is_over, seconds, partial(_poll, read))

    def _wait(self, seen: W, is_over: Callable[[W], bool], seconds: float, look: Look[W]) -> tuple[W, bool]:
        if seconds <= 0 or is_over(seen):
            return seen, seconds > 0
        if not self._places.take():
            return seen, False
        try:
            return look(seen, is_over, seconds), True
        finally:
            self._places.leave()

    def _follow(self, job: Job, is_over: Callable[[Job], bool], seconds: float) -> Job:
        with self.watch.following(job.id) as follower:
            seen = follower.wait(lambda s: is_over(s.job), seconds)
        return seen.job if seen else job

    def enter(self) -> Callable[[], None]:
        """Takes a place, and gives what leaves it; calling that again does nothing. Raises Unavailable when full."""
        if not self._places.take():
            raise Unavailable("as many clients wait for jobs as may: poll the job, or try again", retry_after_s=RETRY_S)
        held = [self._places]

        def leave() -> None:
            if held:
                held.pop().leave()

        return leave


def _poll(read: Callable[[str], Batch | None], batch: Batch, is_over: Callable[[Batch], bool], seconds: float) -> Batch:
    deadline = time.monotonic() + seconds
    while not is_over(batch) and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(POLL_S, left))
        found = read(batch.id)
        if found is None:
            return batch
        batch = found
    return batch
