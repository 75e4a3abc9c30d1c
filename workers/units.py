"""Runs one unit of a job: takes its lease, calls the analysis step, and says on the board how it went."""

from __future__ import annotations

import errno
import json
import logging
import secrets
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

import redis
from kombu.exceptions import OperationalError

from contract.board import Board, Lease
from contract.catalogue import Entry
from contract.connection import call_patiently
from contract.documents import read_documents
from contract.errors import AnalysisError, Cancelled, DamagedFile, InvalidRequest, ModelLoadError
from contract.records import (
    CALIBRATION_VERSION,
    JOB_VERSION,
    REUSE_VERSION,
    ActivationsRequest,
    Corpus,
    Job,
    ModelCard,
)
from contract.request import AnalysisRequest
from contract.selection import resolve_layers
from contract.settings import Settings
from contract.store import Layout, Store
from contract.traces import NoTracer, Tracer
from workers.analysis.activations import Check, write_activations
from workers.analysis.encoder import LazyEncoder
from workers.analysis.limits import Limits
from workers.analysis.manifest import scan_address
from workers.analysis.merging import close_analysis, measure_background, merge_layer, project_shard
from workers.analysis.model import LoadedModel, ModelShelf
from workers.analysis.plan import Plan, read_plan
from workers.analysis.planning import calibrate, calibrate_part, count_parts, fix_bands, plan_windows
from workers.analysis.regrouping import close_regrouping, read_corpus, regroup_layer
from workers.analysis.reusing import reuse_layer
from workers.analysis.steps import Analysis, scan_shard
from workers.device import DeviceLost, is_device_lost
from workers.lease import HeldLease
from workers.mending import COUNTERS, find_lost_scans, find_writer
from workers.metrics import Outcome, WorkerMetrics
from workers.observation import Observation, observe_unit
from workers.reuse import may_reuse, plan_reuse, work_folder
from workers.scheduler import PROJECTED_TOGETHER, Scheduler

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_PAUSE_S = 5.0  # so that a full store has a chance to be emptied before all attempts are used up

Found = TypeVar("Found")
Fields = dict[str, str | int | float]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Done:
    """What a finished unit changes in its job's record."""

    counter: str = ""
    tokens: int = 0
    fields: Fields | None = None


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

    def run(self, job_id: str, unit: str) -> None:
        """Runs a unit unless it is done, in other hands, or its job is over. Raises nothing about the work itself, but
        DeviceLost when this process can do no more."""
        token = secrets.token_hex(8)
        lease_s = self.settings.lease_s
        lease = self._insist(lambda: self.board.begin_unit(job_id, unit, lease_s=lease_s, token=token))
        if lease is None:
            log.info("%s %s: nothing to do", job_id, unit)
            return
        self._run(lease)

    def run_next(self, queue: str) -> bool:
        """Runs the unit whose turn it is in the queues of this worker, which a ticket of `queue` woke.

        False when none waits. The unit may be another's than the ticket was sent for, even of another queue. Raises
        DeviceLost.
        """
        token, names, lease_s = secrets.token_hex(8), self.settings.queue_names, self.settings.lease_s
        lease = self._insist(lambda: self.board.take_unit(names, lease_s=lease_s, token=token))
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
        job = self._insist(lambda: self.board.get_job(lease.job))
        with observe_unit(lease, job.origin if job else {}, self.metrics, self.tracer) as seen:
            self._run_held(lease, job, seen)
        self._look_after(lease.job)

    def _run_held(self, lease: Lease, job: Job | None, seen: Observation) -> None:
        held = HeldLease(self.board, lease, lease_s=self.settings.lease_s, draining=self.draining)
        try:
            with held:
                done = self._work(job, lease.unit, held)
                self._finish(lease, done)
            seen.outcome, seen.tokens = "done", done.tokens
        except Cancelled:
            self._give_back(lease, forget_attempt=True)
            seen.outcome = "lost" if held.is_lost else "stopped"
        except Exception as e:
            seen.outcome = self._note_end(lease, e)

    def _insist(self, call: Callable[[], Found]) -> Found:
        """The board's answer, however long Redis is away; unless the process is to end."""
        return call_patiently(call, self.draining.wait)

    def _finish(self, lease: Lease, done: Done) -> None:
        job, unit, fields = lease.job, lease.unit, done.fields or {}
        self._insist(lambda: self.board.finish_unit(job, unit, counter=done.counter, tokens=done.tokens, fields=fields))

    def _give_back(self, lease: Lease, *, forget_attempt: bool) -> None:
        self._insist(lambda: self.board.release_unit(lease, forget_attempt=forget_attempt))

    def _is_ours(self, lease: Lease) -> bool:
        return self._insist(lambda: self.board.renew(lease, lease_s=self.settings.lease_s)) == "running"

    def _note_end(self, lease: Lease, error: Exception) -> Outcome:
        """What follows from an error in the work. Raises DeviceLost."""
        if is_device_lost(error):
            log.exception("the device is of no more use to this process")
            self._count_failure(lease, error)
            raise DeviceLost from error
        if not self._is_ours(lease):
            # What another worker makes of the unit decides, not what happened here since.
            log.warning("in other hands when it ended with %s", error)
            return "lost"
        if isinstance(error, DamagedFile) and self._mend(lease, error):
            log.warning("%s; it is made again", error)
            return "failed"
        if isinstance(error, AnalysisError | InvalidRequest):
            # Another attempt would end the same way.
            log.warning("%s", error)
            self.scheduler.fail(lease.job, error.code, error.message)
            return "refused"
        # Whatever it was may pass: the unit is tried again, here or elsewhere, as often as allowed.
        log.exception("attempt %d failed", lease.attempt)
        if isinstance(error, OSError) and error.errno in _FULL:
            self.draining.wait(_FULL_PAUSE_S)
        self._count_failure(lease, error)
        return "failed"

    def _count_failure(self, lease: Lease, error: Exception) -> None:
        why = f"{type(error).__name__}: {error}"
        self._insist(lambda: self.board.note_failure(lease.job, lease.unit, why))
        self._give_back(lease, forget_attempt=False)

    def _mend(self, lease: Lease, error: DamagedFile) -> bool:
        """Throws a damaged file away and has the unit that wrote it run again. False when there is none such."""
        job = self._insist(lambda: self.board.get_job(lease.job))
        card = None if job is None else self._insist(lambda: self.board.get_card(job.request["model"]))
        if job is None or card is None or job.kind != "analysis" or error.path is None:
            return False
        request = AnalysisRequest.from_dict(job.request)
        layers, work = resolve_layers(request.neurons.layers, card.layers, card.id), work_folder(job.id, job.reused)
        writer = find_writer(error.path, Layout.work(job.id), layers, in_parts=job.calibration_parts > 0)
        if writer is None:
            return False
        self.store.delete(error.path)
        lost: Iterable[str] = []
        if writer != "plan":
            lost = find_lost_scans(self.store, work, job.progress.shards_total or 0, vectors=request.senses.enabled)
        elif job.reused:
            # A new plan may take over other layers, and then no file of theirs is of use.
            lost = self._insist(lambda: self.board.done_units(job.id))
        self._insist(lambda: self.board.note_failure(lease.job, writer, error.message))
        for unit in {writer, *lost}:
            self._reopen(job, unit)
        # A unit that reads its own files may find them damaged each time.
        self._give_back(lease, forget_attempt=writer != lease.unit)
        return True

    def _reopen(self, job: Job, unit: str) -> None:
        kind, _, number = unit.partition(":")
        tokens = 0
        if kind == "scan":
            # Without a plan only the progress shown is wrong.
            with suppress(DamagedFile):
                tokens = read_plan(self.store, work_folder(job.id, job.reused)).shards[int(number)].tokens
        self._insist(lambda: self.board.reopen_unit(job.id, unit, counter=COUNTERS.get(kind, ""), tokens=tokens))

    def _look_after(self, job: str) -> None:
        """Sends what is due now; a failure is made up for by the next who looks."""
        try:
            self.scheduler.advance(job)
            self.scheduler.tidy(job)
        except (redis.RedisError, OperationalError, OSError) as e:
            log.warning("%s: what is due could not be sent: %s", job, e)

    def _work(self, job: Job | None, unit: str, held: HeldLease) -> Done:
        if job is None:
            raise Cancelled
        if job.version > JOB_VERSION:
            log.warning("%s: a job of version %d; this worker knows %d", job.id, job.version, JOB_VERSION)
            raise Cancelled
        if job.kind == "activations":
            return self._activate(job, held)
        kind, _, number = unit.partition(":")
        if source := job.request.get("source_job"):
            return self._regroup(job, Layout.result(source), kind, number, held)
        model = self._model(job)
        analysis = self._analysis(job, model.card, self._corpus(job))
        work: dict[str, Callable[[], Done]] = {
            "plan": lambda: self._plan(analysis, model, job, held),
            "calibrate": lambda: self._calibrate(analysis, model, int(number), held),
            "bands": lambda: self._bands(analysis, job, held),
            "scan": lambda: self._scan(analysis, model, int(number), held),
            "background": lambda: self._background(analysis, model, held),
            "project": lambda: self._project(analysis, job, int(number), held),
            "merge": lambda: self._merge(analysis, model, int(number), held),
            "close": lambda: self._close(analysis, model, job, held),
        }
        done = work[kind]()
        # Only a job that ran on workers alike, with the same versions and devices, is a source for others.
        is_alike = kind == "plan" or job.scan_address in ("", scan_address(analysis, model))
        return done if is_alike else replace(done, fields=(done.fields or {}) | {"scan_address": ""})

    def _activate(self, job: Job, held: HeldLease) -> Done:
        request, model = ActivationsRequest.from_dict(job.request), self._model(job)
        check = Check(
            request=request,
            store=self.store,
            source=Layout.result(request.job),
            result=Layout.result(job.id),
            block_tokens=self._limits(model.card).block_tokens,
            encoder=self.encoder,
        )
        return Done(tokens=write_activations(check, model, should_stop=held.should_stop))

    def _regroup(self, job: Job, source: str, kind: str, number: str, held: HeldLease) -> Done:
        """A unit of a job that makes new senses of another's scan. It needs no model."""
        card = self.board.get_card(job.request["model"])
        if card is None:
            raise ModelLoadError(f"model {job.request['model']!r} was never described")
        analysis = self._analysis(job, card, read_corpus(self.store, source))
        if kind == "plan":
            return Done(fields={"shards_total": 0, "layers_total": len(analysis.layers), "tokens_total": 0})
        if kind == "merge":
            regroup_layer(analysis, source, analysis.layers[int(number)], should_stop=held.should_stop)
            return Done(COUNTERS["merge"])
        close_regrouping(analysis, source)
        return Done()

    def _model(self, job: Job) -> LoadedModel:
        entry = self.catalogue.get(job.request["model"])
        if entry is None:
            raise ModelLoadError(f"model {job.request['model']!r} is not in this worker's catalogue")
        return self.shelf.get(entry)

    def _corpus(self, job: Job) -> Corpus:
        corpus = self.board.get_corpus(job.request["corpus"]["id"], job.tenant)
        if corpus is None:
            raise AnalysisError(f"corpus {job.request['corpus']['id']!r} was deleted")
        return corpus

    def _limits(self, card: ModelCard) -> Limits:
        wanted = Limits(self.settings.block_tokens, self.settings.shard_tokens)
        return wanted.on(self.shelf.device, self.shelf.dtype, card)

    def _analysis(self, job: Job, card: ModelCard, corpus: Corpus) -> Analysis:
        limits = self._limits(card)
        return Analysis(
            request=AnalysisRequest.from_dict(job.request),
            corpus=corpus,
            card=card,
            store=self.store,
            work=work_folder(job.id, job.reused),
            result=Layout.result(job.id),
            lens=Layout.LENS,
            block_tokens=limits.block_tokens,
            shard_tokens=limits.shard_tokens,
            encoder=self.encoder,
            reused=job.reused,
        )

    def _plan(self, analysis: Analysis, model: LoadedModel, job: Job, held: HeldLease) -> Done:
        fresh, address = replace(analysis, reused={}, work=Layout.work(job.id)), scan_address(analysis, model)
        if may_reuse(job):
            fresh = plan_reuse(self.board, fresh, job, address, should_stop=held.should_stop)
        fields: Fields = {"layers_total": len(fresh.layers), "reused": json.dumps(fresh.reused), "calibration_parts": 0}
        if job.version >= REUSE_VERSION:
            fields["scan_address"] = address
        if not fresh.scanned:
            return Done(fields=fields | {"shards_total": 0, "tokens_total": 0})
        plan = self._plan_scan(fresh, model, job, held)
        fields |= {"shards_total": len(plan.shards), "tokens_total": plan.tokens}
        # Jobs of earlier versions may be shared with workers that know nothing of units for it.
        if (parts := count_parts(fresh)) > 1 and job.version >= CALIBRATION_VERSION:
            return Done(fields=fields | {"calibration_parts": parts})
        calibrate(fresh, model, should_stop=held.should_stop)
        return Done(fields=fields | {"scan_began_at": "@now"})

    def _plan_scan(self, analysis: Analysis, model: LoadedModel, job: Job, held: HeldLease) -> Plan:
        try:
            file = self.store.open(Layout.documents(analysis.corpus.id, job.tenant))
        except FileNotFoundError as e:
            raise AnalysisError(f"the documents of corpus {analysis.corpus.id!r} are not in the store") from e
        with file:
            return plan_windows(analysis, model, read_documents(file), should_stop=held.should_stop)

    def _calibrate(self, analysis: Analysis, model: LoadedModel, part: int, held: HeldLease) -> Done:
        calibrate_part(analysis, model, part, should_stop=held.should_stop)
        return Done()

    def _bands(self, analysis: Analysis, job: Job, held: HeldLease) -> Done:
        fix_bands(analysis, should_stop=held.should_stop)
        # Made again later, they do not make the scan any younger.
        return Done(fields=None if job.progress.shards_done else {"scan_began_at": "@now"})

    def _scan(self, analysis: Analysis, model: LoadedModel, shard: int, held: HeldLease) -> Done:
        tokens = scan_shard(analysis, model, shard, on_tokens=held.note_tokens, should_stop=held.should_stop)
        return Done(COUNTERS["scan"], tokens, {"scan_ended_at": "@now"})

    def _background(self, analysis: Analysis, model: LoadedModel, held: HeldLease) -> Done:
        measure_background(analysis, model, should_stop=held.should_stop)
        return Done()

    def _project(self, analysis: Analysis, job: Job, group: int, held: HeldLease) -> Done:
        first, shards = group * PROJECTED_TOGETHER, job.progress.shards_total or 0
        for shard in range(first, min(first + PROJECTED_TOGETHER, shards)):
            project_shard(analysis, shard, should_stop=held.should_stop)
        return Done()

    def _merge(self, analysis: Analysis, model: LoadedModel, ordinal: int, held: HeldLease) -> Done:
        layer = analysis.layers[ordinal]
        if layer in analysis.scanned:
            merge_layer(analysis, model, layer, should_stop=held.should_stop)
        else:
            reuse_layer(analysis, layer, should_stop=held.should_stop)
        return Done(COUNTERS["merge"])

    def _close(self, analysis: Analysis, model: LoadedModel, job: Job, held: HeldLease) -> Done:
        manifest = close_analysis(analysis, model, should_stop=held.should_stop)
        self._update_card(analysis, job)
        # Of blocks that were cut the last bits are not those that another scan would find.
        return Done(fields={"scan_address": ""} if manifest["blocks_in_parts"] else None)

    def _update_card(self, analysis: Analysis, job: Job) -> None:
        """Notes on the model's card how fast it went, for estimates."""
        card, total = analysis.card, job.progress.tokens_total
        speed = job.progress.tokens_per_second if len(analysis.scanned) == card.layers else card.tokens_per_second
        whole = analysis.request.tokens.max_tokens is None and total
        length = analysis.corpus.characters / total if whole and total else card.characters_per_token
        self.board.put_card(replace(card, tokens_per_second=speed, characters_per_token=length))
