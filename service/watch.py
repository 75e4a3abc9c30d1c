"""One reader of the board for all who wait in this process: clients in long polls and clients of event streams.

It runs only while somebody follows a job, and reads all followed jobs at once, so Redis does not notice how many wait.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from contract.board import Board
from contract.records import Job

POLL_S = 0.1


@dataclass(frozen=True)
class Sight:
    """A job, and whether a worker serves its queue (true too of one that has ended)."""

    job: Job
    is_served: bool


Sights = Mapping[str, Sight]


def look_at(board: Board, ids: Sequence[str]) -> Sights:
    """Those of the jobs that are there."""
    jobs = board.get_jobs(ids)
    servers = {} if all(job.is_terminal for job in jobs) else board.count_servers()
    return {job.id: Sight(job, job.is_terminal or job.queue in servers) for job in jobs}


class Watch:
    """Thread-safe. What fails to be read fails for all who wait at that moment."""

    def __init__(self, look: Callable[[Sequence[str]], Sights]) -> None:
        self._look = look
        self._changed = threading.Condition()
        self._followers: Counter[str] = Counter()
        self._seen: dict[str, Sight | None] = {}  # None: it is not there; no entry: not looked at yet
        self._failure: tuple[int, Exception] | None = None  # of the last round, when it failed
        self._round = 0
        self._is_reading = False
        self._has_newcomer = False  # a job that is to be read without a pause
        self.is_closed = False  # the process is ending

    @contextmanager
    def following(self, job: str) -> Iterator[Follower]:
        with self._changed:
            self._has_newcomer = self._has_newcomer or job not in self._followers
            self._followers[job] += 1
            follower = Follower(self, job, self._round)
            self._changed.notify_all()
            if not self._is_reading:
                self._is_reading = True
                threading.Thread(target=self._read, name="watch", daemon=True).start()
        try:
            yield follower
        finally:
            self._leave(job)

    def close(self) -> None:
        """Lets every wait end now. Takes no lock, so a signal handler may call it."""
        self.is_closed = True

    def _leave(self, job: str) -> None:
        with self._changed:
            self._followers[job] -= 1
            if not self._followers[job]:
                del self._followers[job]
                self._seen.pop(job, None)

    def _read(self) -> None:
        while ids := self._followed():
            try:
                found, failure = self._look(ids), None
            except Exception as e:  # those who wait are to hear of it, whatever it is
                found, failure = {}, e
            self._tell(ids, found, failure)

    def _followed(self) -> list[str]:
        """Whom to read next, after a pause; nobody once all have left."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_newcomer, POLL_S)
            self._has_newcomer = False
            self._is_reading = bool(self._followers)
            return list(self._followers)

    def _tell(self, ids: Sequence[str], found: Sights, failure: Exception | None) -> None:
        with self._changed:
            self._round += 1
            self._failure = None if failure is None else (self._round, failure)
            if failure is None:
                self._seen.update({job: found.get(job) for job in ids if job in self._followers})
            self._changed.notify_all()

    def _wait(self, follower: Follower, is_wanted: Callable[[Sight], bool], seconds: float) -> Sight | None:
        """Holds the lock only to look."""
        job = follower.job

        def is_over() -> bool:
            if self.is_closed or (self._failure and self._failure[0] > follower.since):
                return True
            seen = self._seen.get(job)
            return job in self._seen and (seen is None or is_wanted(seen))

        with self._changed:
            self._changed.wait_for(is_over, seconds)
            if self._failure and self._failure[0] > follower.since:
                raise self._failure[1]
            return self._seen.get(job)


@dataclass
class Follower:
    """Who waits for one job to change."""

    watch: Watch
    job: str
    since: int  # the round that was over when it began to follow

    def wait(self, is_wanted: Callable[[Sight], bool], seconds: float) -> Sight | None:
        """The job once `is_wanted`, or as it is after `seconds`; None when it is not there. Raises as reading does."""
        return self.watch._wait(self, is_wanted, seconds)
