"""Waiting for a job or a batch to change (`Prefer: wait`). Each waiter holds a server thread, so there is a limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

POLL_S = 0.1


class Watched(Protocol):
    """A job or a batch."""

    @property
    def id(self) -> str: ...


W = TypeVar("W", bound=Watched)


class WaitRoom:
    """At most `places` threads wait at once; who finds no place gets the present state."""

    def __init__(self, places: int) -> None:
        self._places = threading.BoundedSemaphore(max(places, 1))

    def wait(
        self, job: W, read: Callable[[str], W | None], is_over: Callable[[W], bool], seconds: float
    ) -> tuple[W, bool]:
        """The job once `is_over`, or as it is after `seconds`; and whether the wait was granted."""
        if seconds <= 0 or is_over(job):
            return job, seconds > 0
        if not self._places.acquire(blocking=False):
            return job, False
        try:
            return _poll(job, read, is_over, time.monotonic() + seconds), True
        finally:
            self._places.release()


def _poll(job: W, read: Callable[[str], W | None], is_over: Callable[[W], bool], deadline: float) -> W:
    while not is_over(job) and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(POLL_S, left))
        found = read(job.id)
        if found is None:
            return job
        job = found
    return job
