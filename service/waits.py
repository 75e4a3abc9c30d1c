"""Waiting for a job to change. A waiter holds a server thread, so there is a limit on waiters.

Long polls (`Prefer: wait`) and event streams share the places.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from contract.errors import Unavailable
from contract.records import Job
from service.watch import Watch

RETRY_S = 5


class WaitRoom:
    """At most `places` threads wait at once; who finds no place gets the present state."""

    def __init__(self, places: int, watch: Watch) -> None:
        self._places = threading.BoundedSemaphore(max(places, 1))
        self.watch = watch

    def wait(self, job: Job, is_over: Callable[[Job], bool], seconds: float) -> tuple[Job, bool]:
        """The job once `is_over`, or as it is after `seconds`; and whether the wait was granted."""
        if seconds <= 0 or is_over(job):
            return job, seconds > 0
        if not self._places.acquire(blocking=False):
            return job, False
        try:
            with self.watch.following(job.id) as follower:
                seen = follower.wait(lambda s: is_over(s.job), seconds)
            return seen.job if seen else job, True
        finally:
            self._places.release()

    def enter(self) -> Callable[[], None]:
        """Takes a place, and gives what leaves it; calling that again does nothing. Raises Unavailable when full."""
        if not self._places.acquire(blocking=False):
            raise Unavailable("as many clients wait for jobs as may: poll the job, or try again", retry_after_s=RETRY_S)
        held = [self._places]

        def leave() -> None:
            if held:
                held.pop().release()

        return leave
