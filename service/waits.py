"""Waiting for a job to change (`Prefer: wait`). A waiter holds a server thread, so there is a limit on waiters."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from contract.records import Job

POLL_S = 0.1


class WaitRoom:
    """At most `places` threads wait at once; who finds no place gets the present state."""

    def __init__(self, places: int) -> None:
        self._places = threading.BoundedSemaphore(max(places, 1))

    def wait(
        self, job: Job, read: Callable[[str], Job | None], is_over: Callable[[Job], bool], seconds: float
    ) -> tuple[Job, bool]:
        """The job once `is_over`, or as it is after `seconds`; and whether the wait was granted."""
        if seconds <= 0 or is_over(job):
            return job, seconds > 0
        if not self._places.acquire(blocking=False):
            return job, False
        try:
            return _poll(job, read, is_over, time.monotonic() + seconds), True
        finally:
            self._places.release()


def _poll(job: Job, read: Callable[[str], Job | None], is_over: Callable[[Job], bool], deadline: float) -> Job:
    while not is_over(job) and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(POLL_S, left))
        found = read(job.id)
        if found is None:
            return job
        job = found
    return job
