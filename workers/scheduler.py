"""What is to be done next for a job.

Called after every unit and, by one worker, every few seconds for every job.

So a dead worker and a unit that nobody took are the same case: a unit that is neither done nor in
flight. It is put in its lane, and a ticket is sent. A lost ticket, or one that an API was killed
before it could send, is one fewer than there are waiting units.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress

import redis
from kombu.exceptions import OperationalError

from polyseme.contract.board.board import Board
from polyseme.contract.errors import DamagedRecord
from polyseme.contract.files.probe import describe_trouble
from polyseme.contract.files.results import MANIFEST
from polyseme.contract.files.seals import find_late_damage, parse_manifest, seals_of
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.paths import hide_paths
from polyseme.contract.records.job import JOB_VERSION, Job, priority_of
from polyseme.contract.settings import Settings
from polyseme.contract.tickets import ticket_keys
from polyseme.workers.pipelines import due_of, stages_of

log = logging.getLogger(__name__)

Send = Callable[[str], None]  # a ticket to a queue


class Scheduler:
    def __init__(self, board: Board, store: Store, send: Send, settings: Settings) -> None:
        self._board = board
        self._store = store
        self._send = send
        self._settings = settings

    def advance(self, job_id: str) -> None:
        """Sends what is due, or ends the job.

        Safe to call from anywhere, at any time, any number of times.
        """
        job = self.read(job_id)
        # A newer API's job is left to newer workers.
        if job is None or job.is_terminal or job.version > JOB_VERSION:
            return
        if job.status == "cancelling":
            self._settle_cancel(job)
            return
        if job.is_overdue:
            seconds = job.analysis.deadline_s
            self.fail(job_id, "deadline_exceeded", f"it did not end within {seconds:g} s")
            return
        due = due_of(job, self._board.units.list_done(job_id))
        if due is None:
            self._end_well(job)
            return
        if job.status == "running" and job.phase != due.phase:
            self._board.jobs.set_phase(job_id, due.phase)
        spent = self._find_spent(job_id, due.units)
        if not self._fail_if_idle(job_id, spent):
            # One that is spent and runs still may end badly before the next line.
            self._send_units(job, tuple(u for u in due.units if u not in spent))

    def read(self, job_id: str) -> Job | None:
        """None when it is not there, or cannot be read. One whose record is damaged fails."""
        try:
            return self._board.jobs.get(job_id)
        except DamagedRecord as e:
            if e.is_newer:  # a newer API's job is left to newer workers
                log.warning("%s is left to newer workers: %s", job_id, e)
                return None
            log.error("%s fails: %s", job_id, e)
            error = {"code": e.code, "detail": e.message}
            self._board.jobs.end(job_id, "failed", error, keep_s=self._settings.retention_s)
            return None

    def advance_all(self) -> None:
        for job in self._board.jobs.list_active():
            try:
                self.advance(job)
            except (redis.RedisError, OperationalError):
                raise
            except OSError as e:
                log.warning("%s waits for the store: %s", job, e)
                with suppress(OSError):
                    self.await_store(job, describe_trouble(e))
            except Exception:
                # One job's trouble, say with its files, is not to hold up the others.
                log.exception("job %s could not be moved on", job)
        self.replace_tickets()

    def wake(self, queue: str) -> None:
        self._send(queue)

    def replace_tickets(self) -> None:
        """Sends those that are missing.

        One too many wakes a worker for nothing, which harms nobody.
        """
        waiting: Counter[str] = Counter()
        for (queue, _), units in self._board.units.count_waiting().items():
            waiting[queue] += units
        for queue, tickets in self._board.workers.count_tickets(ticket_keys(waiting)).items():
            for _ in range(min(waiting[queue] - tickets, self._settings.shards_in_flight)):
                self._send(queue)

    def fail(self, job_id: str, code: str, detail: str) -> None:
        if job := self.read(job_id):
            self._end(job, "failed", {"code": code, "detail": hide_paths(detail)})

    def await_store(self, job_id: str, why: str) -> bool:
        """Notes that a job waits for the store, and fails it once it has waited too long.

        Whether it has. Raises OSError when the job has failed and its files cannot be removed yet.
        """
        seconds = self._board.jobs.note_store_away(job_id)
        if seconds <= self._settings.store_patience_s:
            return False
        log.error("%s has waited %.0f s for the store", job_id, seconds)
        self.fail(job_id, "store_away", f"the store was away for {seconds:.0f} s: {why}")
        return True

    def _send_units(self, job: Job, units: tuple[str, ...]) -> None:
        """Lets as many wait as may be in flight.

        A ticket that cannot be sent is replaced in the next round.
        """
        settings = self._settings
        room = settings.shards_in_flight
        # Of twice as many as there is room for, enough are not in flight yet; and a job may have
        # very many.
        offered = units[: 2 * room]
        queue = self._board.registry.find_queue(job.request.model)
        claimed = self._board.units.claim(
            job.id,
            offered,
            room=room,
            patience_s=settings.queue_patience_s,
            queue=queue,
            priority=priority_of(job.request),
        )
        for _ in claimed:
            self._send(queue)

    def _find_spent(self, job_id: str, units: tuple[str, ...]) -> dict[str, int]:
        """Those of the units that were begun as often as allowed, with how often that is."""
        attempts = self._board.units.count_attempts(job_id)
        return {u: attempts[u] for u in units if attempts.get(u, 0) >= self._settings.max_attempts}

    def _fail_if_idle(self, job_id: str, spent: Mapping[str, int]) -> bool:
        """Ends a job one of whose spent units is not running now."""
        if not spent or (unit := self._board.units.first_idle(job_id, list(spent))) is None:
            return False
        why = self._board.units.last_failure(job_id) or "its worker died each time"
        self.fail(
            job_id, "too_many_attempts", f"{unit} did not end in {spent[unit]} attempts: {why}"
        )
        return True

    def tidy(self, job_id: str) -> None:
        """Removes what an ended job does not need. For whoever may have written after its end."""
        try:
            job = self._board.jobs.get(job_id)
        except DamagedRecord:  # whether it has a result cannot be known
            return
        if job is None or job.is_terminal:
            self._remove_files(job_id, keep_result=job is not None and job.status == "succeeded")

    def tidy_all(self) -> None:
        """Tidies up after jobs whose worker died between their end and that."""
        for job in self._board.jobs.iterate(self._store.names(Layout.WORK)):
            if job.is_terminal:
                self.tidy(job.id)

    def _settle_cancel(self, job: Job) -> None:
        if self._board.units.count_held(job.id) == 0:
            self._end(job, "cancelled")

    def _end_well(self, job: Job) -> None:
        """Unless a file of its result was lost since the last unit made sure of it."""
        if job.kind == "analysis" and (damage := self._find_lost(job)):
            last = stages_of(job)[-1].name
            log.warning("%s: damaged since its end: %s; %s runs again", job.id, damage, last)
            self._board.units.note_failure(job.id, last, f"damaged: {damage}")
            self._board.units.reopen(job.id, last)
            return
        self._end(job, "succeeded")

    def _find_lost(self, job: Job) -> str:
        """Which files are not there, have another size, or were written again as something else."""
        folder = Layout.result(job.id)
        try:
            manifest = parse_manifest(self._store.read(f"{folder}/{MANIFEST}"))
        except (FileNotFoundError, ValueError):
            return MANIFEST
        return ", ".join(find_late_damage(self._store, folder, seals_of(manifest)))

    def _end(self, job: Job, status: str, error: dict[str, str] | None = None) -> None:
        """Ends a job and removes what it needed, and the result too unless it succeeded."""
        # Only whoever ends a job as failed may remove its result: another may just have ended it
        # well.
        if status == "cancelled":
            self._remove_files(job.id, keep_result=False)
        if status == "succeeded":
            # Its work files can be many, and nobody is to wait for them to go.
            self._store.delete_unfinished(Layout.result(job.id))
        if status != "failed":
            size = self._store.folder_size(Layout.result(job.id))
            self._board.accounts.note_stored(job.tenant, f"job:{job.id}", size)
        if self._board.jobs.end(job.id, status, error, keep_s=self._settings.retention_s):
            log.info("job %s of %s %s", job.id, job.tenant, status)
            self.tidy(job.id)

    def _remove_files(self, job_id: str, *, keep_result: bool) -> None:
        if keep_result:
            self._store.delete_unfinished(Layout.result(job_id))
        else:
            self._store.delete(Layout.result(job_id))
        # The last: while it is there, `tidy_all` finds the job.
        self._store.delete(Layout.work(job_id))
