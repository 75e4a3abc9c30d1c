"""One reader of the board for all who wait in this process: clients in long polls and clients of
event streams.

It runs only while somebody has subscribed to a job, and reads all those jobs at once, so Redis does
not notice how many wait.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from polyseme.contract.board.board import Board
from polyseme.contract.records.job import Job

POLL_S = 0.1


@dataclass(frozen=True)
class JobSnapshot:
    """A job, and whether a worker serves its queue (true too of one that has ended)."""

    job: Job
    is_served: bool


JobSnapshots = Mapping[str, JobSnapshot]


def read_jobs(board: Board, ids: Sequence[str]) -> JobSnapshots:
    """Those of the jobs that are there."""
    jobs = board.jobs.get_many(ids)
    servers = {} if all(job.is_terminal for job in jobs) else board.workers.count_by_queue()
    return {job.id: JobSnapshot(job, job.is_terminal or job.queue in servers) for job in jobs}


class Watch:
    """Thread-safe. What fails to be read fails for all who wait at that moment."""

    def __init__(self, read: Callable[[Sequence[str]], JobSnapshots]) -> None:
        self._read_jobs = read
        self._changed = threading.Condition()
        self._subscribers: Counter[str] = Counter()  # by job
        # None: the job is not there; no entry: it was not read yet.
        self._snapshots: dict[str, JobSnapshot | None] = {}
        self._failure: tuple[int, Exception] | None = None  # of the last round, when it failed
        self._round = 0
        self._is_reading = False
        self._has_newcomer = False  # a job that is to be read without a pause
        self.is_closed = False  # the process is ending

    @contextmanager
    def subscribe(self, job: str) -> Iterator[Subscription]:
        with self._changed:
            self._has_newcomer = self._has_newcomer or job not in self._subscribers
            self._subscribers[job] += 1
            subscription = Subscription(self, job, self._round)
            self._changed.notify_all()
            if not self._is_reading:
                self._is_reading = True
                threading.Thread(target=self._read, name="watch", daemon=True).start()
        try:
            yield subscription
        finally:
            self._leave(job)

    def close(self) -> None:
        """Lets every wait end now. Takes no lock, so a signal handler may call it."""
        self.is_closed = True

    def _leave(self, job: str) -> None:
        with self._changed:
            self._subscribers[job] -= 1
            if not self._subscribers[job]:
                del self._subscribers[job]
                self._snapshots.pop(job, None)

    def _read(self) -> None:
        while ids := self._subscribed():
            try:
                snapshots, failure = self._read_jobs(ids), None
            except Exception as e:  # those who wait are to hear of it, whatever it is
                snapshots, failure = {}, e
            self._tell(ids, snapshots, failure)

    def _subscribed(self) -> list[str]:
        """Whom to read next, after a pause; nobody once all have left."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_newcomer, POLL_S)
            self._has_newcomer = False
            self._is_reading = bool(self._subscribers)
            return list(self._subscribers)

    def _tell(self, ids: Sequence[str], snapshots: JobSnapshots, failure: Exception | None) -> None:
        with self._changed:
            self._round += 1
            self._failure = None if failure is None else (self._round, failure)
            if failure is None:
                self._snapshots.update(
                    {job: snapshots.get(job) for job in ids if job in self._subscribers}
                )
            self._changed.notify_all()

    def _wait(
        self, subscription: Subscription, is_wanted: Callable[[JobSnapshot], bool], seconds: float
    ) -> JobSnapshot | None:
        """Holds the lock only to look at what was read."""
        job = subscription.job

        def is_over() -> bool:
            if self.is_closed or (self._failure and self._failure[0] > subscription.since):
                return True
            snapshot = self._snapshots.get(job)
            return job in self._snapshots and (snapshot is None or is_wanted(snapshot))

        with self._changed:
            self._changed.wait_for(is_over, seconds)
            if self._failure and self._failure[0] > subscription.since:
                raise self._failure[1]
            return self._snapshots.get(job)


@dataclass
class Subscription:
    """Somebody waits for one job to change."""

    watch: Watch
    job: str
    since: int  # the round that was over when it began

    def wait(self, is_wanted: Callable[[JobSnapshot], bool], seconds: float) -> JobSnapshot | None:
        """The job once `is_wanted`, or as it is after `seconds`;

        None when it is not there. Raises as reading does.
        """
        return self.watch._wait(self, is_wanted, seconds)
