"""Runs one unit of a job: takes its lease, has its work done, and says on the board how it went."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import redis
from kombu.exceptions import OperationalError

from polyseme.contract.board.board import Board
from polyseme.contract.board.connection import call_patiently
from polyseme.contract.board.job_record import BEFORE_MERGES_CLOCK, MERGES_CLOCK
from polyseme.contract.board.units import Lease
from polyseme.contract.errors import (
    AnalysisError,
    Cancelled,
    DamagedFile,
    InvalidRequest,
    OtherEncoder,
)
from polyseme.contract.files.store import Store
from polyseme.contract.records.catalogue import Entry
from polyseme.contract.records.job import JOB_VERSION, Job
from polyseme.contract.settings import Settings
from polyseme.contract.traces import NoTracer, Tracer
from polyseme.workers.analysis.corpus.plan import read_plan
from polyseme.workers.analysis.models.encoder import LazyEncoder
from polyseme.workers.analysis.models.shelf import ModelShelf
from polyseme.workers.analysis.pipeline import Done, Stage, split_unit
from polyseme.workers.device import DeviceLost, is_device_lost
from polyseme.workers.dictionary_shelf import DictionaryShelf
from polyseme.workers.job_work import JobWork
from polyseme.workers.lease import HeldLease
from polyseme.workers.metrics import Outcome, WorkerMetrics
from polyseme.workers.observation import Observation, observe_unit
from polyseme.workers.pipelines import stages_of
from polyseme.workers.repair import find_lost_scans, find_writer
from polyseme.workers.reuse import work_folder
from polyseme.workers.scheduler import Scheduler
from polyseme.workers.stalls import StallWatch
from polyseme.workers.store_wait import StoreWait, is_full, make_probe

_OTHERS_PAUSE_S = 2.0  # before a unit that this worker cannot run is given back

Found = TypeVar("Found")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Runner:
    """All that a worker process needs to run units."""

    board: Board
    store: Store
    shelf: ModelShelf
    encoder: LazyEncoder
    catalogue: dict[str, Entry]
    scheduler: Scheduler
    settings: Settings
    draining: threading.Event  # set when the process is to end: units are given back
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics)
    tracer: Tracer = field(default_factory=NoTracer)
    dictionaries: DictionaryShelf = field(default_factory=lambda: DictionaryShelf({}))
    # told of a unit that was given up, whose thread, which is this process' only one, hangs
    on_stall: Callable[[], None] = lambda: None

    @cached_property
    def store_wait(self) -> StoreWait:
        lease_s = self.settings.lease_s
        probe = make_probe(self.store, lease_s)
        return StoreWait(self.board, self.scheduler, probe, self.draining, lease_s)

    @cached_property
    def stalls(self) -> StallWatch:
        probe, stall_s = self.store_wait.probe, self.settings.stall_s
        note = self.metrics.note_store
        return StallWatch(self.board, self.scheduler, probe, stall_s, note, self.on_stall)

    def run_next(self, queue: str) -> bool:
        """Runs the unit whose turn it is in the queues of this worker, which a ticket of `queue`
        woke.

        False when none waits. The unit may be another's than the ticket was sent for, even of
        another queue. Raises DeviceLost.
        """
        token, names, lease_s = (
            secrets.token_hex(8),
            self.settings.queue_names,
            self.settings.lease_s,
        )
        lease = self._insist(lambda: self.board.units.take(names, lease_s=lease_s, token=token))
        if lease is None:
            return False
        if lease.queue != queue:
            self._wake(queue)  # what this ticket was sent for still waits
        self._run(lease)
        return True

    def _wake(self, queue: str) -> None:
        try:
            self.scheduler.wake(queue)
        except OperationalError as e:
            log.warning("no ticket could be sent to %s: %s", queue, e)

    def _run(self, lease: Lease) -> None:
        job = self._insist(lambda: self.scheduler.read(lease.job))
        with observe_unit(lease, job.origin if job else {}, self.metrics, self.tracer) as seen:
            self._run_held(lease, job, seen)
        self._look_after(lease.job)

    def _run_held(self, lease: Lease, job: Job | None, seen: Observation) -> None:
        held = HeldLease(
            self.board,
            lease,
            lease_s=self.settings.lease_s,
            draining=self.draining,
            look=self.stalls.look,
        )
        try:
            with held:
                stage, done = self._work(job, lease.unit, held)
                held.stop_watching()
                self._finish(lease, stage, done)
            self._insist(lambda: self.board.units.note_pause(stage.name, held.longest_silence_s))
            seen.outcome, seen.tokens = "done", done.tokens
        except Cancelled:
            self._give_back(lease, forget_attempt=True)
            seen.outcome = "lost" if held.is_lost else "stopped"
        except Exception as e:
            seen.outcome = self._note_end(lease, e)
        finally:
            self.metrics.note_store(True)

    def _insist(self, call: Callable[[], Found]) -> Found:
        """The board's answer, however long Redis is away; unless the process is to end."""
        return call_patiently(call, self.draining.wait)

    def _finish(self, lease: Lease, stage: Stage[Any], done: Done) -> None:
        self._insist(
            lambda: self.board.units.finish(
                lease.job,
                lease.unit,
                counter=stage.counter,
                tokens=done.tokens,
                clock=MERGES_CLOCK if stage.phase == "merging" else BEFORE_MERGES_CLOCK,
                seconds=done.seconds,
                fields=done.facts,
            )
        )

    def _give_back(self, lease: Lease, *, forget_attempt: bool) -> None:
        self._insist(lambda: self.board.units.release(lease, forget_attempt=forget_attempt))

    def _is_ours(self, lease: Lease) -> bool:
        return (
            self._insist(lambda: self.board.units.renew(lease, lease_s=self.settings.lease_s))
            == "running"
        )

    def _note_end(self, lease: Lease, error: Exception) -> Outcome:
        """What follows from an error in the work. Raises DeviceLost."""
        if isinstance(error, OtherEncoder):
            log.warning("%s: given back", error)
            self._insist(lambda: self.board.jobs.note_wait(lease.job, str(error)))
            self.draining.wait(_OTHERS_PAUSE_S)
            self._give_back(lease, forget_attempt=True)
            return "stopped"
        if is_device_lost(error):
            log.exception("the device is of no more use to this process")
            self._count_failure(lease, error)
            raise DeviceLost from error
        if not self._is_ours(lease):
            # What another worker makes of the unit decides, not what happened here since.
            log.warning("in other hands when it ended with %s", error)
            return "lost"
        if (why := self.store_wait.find_trouble(error)) is not None:
            return self._wait_for_store(lease, why, is_full(error))
        try:
            if isinstance(error, DamagedFile) and self._repair(lease, error):
                log.warning("%s; it is made again", error)
                return "failed"
        except OSError as e:
            return self._note_end(lease, e)
        if isinstance(error, AnalysisError | InvalidRequest):
            # Another attempt would end the same way.
            log.warning("%s", error)
            self.scheduler.fail(lease.job, error.code, error.message)
            return "refused"
        # Whatever it was may pass: the unit is tried again, here or elsewhere, as often as allowed.
        log.exception("attempt %d failed", lease.attempt)
        self._count_failure(lease, error)
        return "failed"

    def _wait_for_store(self, lease: Lease, why: str, is_full: bool) -> Outcome:
        self.metrics.note_store(False)
        self.store_wait.hold(lease, why, is_full=is_full)
        self._give_back(lease, forget_attempt=False)
        return "waited"

    def _count_failure(self, lease: Lease, error: Exception) -> None:
        why = f"{type(error).__name__}: {error}"
        self._insist(lambda: self.board.units.note_failure(lease.job, lease.unit, why))
        self._give_back(lease, forget_attempt=False)

    def _repair(self, lease: Lease, error: DamagedFile) -> bool:
        """Throws a damaged file away and has the unit that wrote it run again.

        False when there is none such.
        """
        job = self._insist(lambda: self.scheduler.read(lease.job))
        if job is None or error.path is None:
            return False
        card = self._insist(lambda: self.board.registry.get_card(job.request.model))
        writer = None if card is None else find_writer(error.path, job, card)
        if writer is None:
            return False
        self.store.delete(error.path)
        lost: Iterable[str] = []
        if writer != "plan":
            lost = find_lost_scans(self.store, job)
        elif job.reused:
            # A new plan may take over other layers, and then no file of theirs is of use.
            lost = self._insist(lambda: self.board.units.list_done(job.id))
        self._insist(lambda: self.board.units.note_failure(lease.job, writer, error.message))
        for unit in {writer, *lost}:
            self._reopen(job, unit)
        # A unit that reads its own files may find them damaged each time.
        self._give_back(lease, forget_attempt=writer != lease.unit)
        return True

    def _reopen(self, job: Job, unit: str) -> None:
        stage, number = split_unit(stages_of(job), unit)
        tokens = 0
        if stage.name == "scan":
            # Without a plan only the progress shown is wrong.
            with suppress(DamagedFile):
                plan = read_plan(self.store, work_folder(job.id, job.reused))
                tokens = plan.shards[number].tokens
        self._insist(
            lambda: self.board.units.reopen(job.id, unit, counter=stage.counter, tokens=tokens)
        )

    def _look_after(self, job: str) -> None:
        """Sends what is due now; a failure is made up for by the next who looks."""
        try:
            self.scheduler.advance(job)
            self.scheduler.tidy(job)
        except (redis.RedisError, OperationalError, OSError) as e:
            log.warning("%s: what is due could not be sent: %s", job, e)

    def _work(self, job: Job | None, unit: str, held: HeldLease) -> tuple[Stage[Any], Done]:
        if job is None:
            raise Cancelled
        if job.version > JOB_VERSION:
            why = f"its record has version {job.version}, this worker knows {JOB_VERSION}"
            log.warning("%s: %s", job.id, why)
            self.board.jobs.note_wait(job.id, why)
            raise Cancelled
        work = JobWork(
            self.board,
            self.store,
            self.shelf,
            self.encoder,
            self.catalogue,
            self.settings,
            self.dictionaries,
        )
        return work.run(job, unit, held)
