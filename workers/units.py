"""Runs one unit of a job: takes its lease, calls the analysis step, and says on the board how it went."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from contract.board import Board, Lease
from contract.catalogue import Entry
from contract.documents import read_documents
from contract.errors import AnalysisError, Cancelled, InvalidRequest, ModelLoadError
from contract.records import ActivationsRequest, Corpus, Job, ModelCard
from contract.request import AnalysisRequest
from contract.settings import Settings
from contract.store import Layout, Store
from contract.traces import NoTracer, Tracer
from workers.analysis.activations import Check, write_activations
from workers.analysis.encoder import LazyEncoder
from workers.analysis.merging import close_analysis, measure_background, merge_layer, project_shard
from workers.analysis.model import LoadedModel, ModelShelf
from workers.analysis.regrouping import close_regrouping, read_corpus, regroup_layer
from workers.analysis.steps import Analysis, plan_analysis, scan_shard
from workers.lease import HeldLease
from workers.metrics import WorkerMetrics
from workers.observation import Observation, observe_unit
from workers.scheduler import Scheduler

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Done:
    """What a finished unit changes in its job's record."""

    counter: str = ""
    tokens: int = 0
    fields: dict[str, str | int | float] | None = None


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
        """Runs a unit unless it is done, in other hands, or its job is over. Raises nothing about the work itself."""
        lease = self.board.begin_unit(job_id, unit, lease_s=self.settings.lease_s)
        if lease is None:
            log.info("%s %s: nothing to do", job_id, unit)
            return
        self._run(lease)

    def run_next(self, queue: str) -> bool:
        """Runs the unit whose turn it is in the queues of this worker, which a ticket of `queue` woke.

        False when none waits. The unit may be another's than the ticket was sent for, even of another queue.
        """
        lease = self.board.take_unit(self.settings.queue_names, lease_s=self.settings.lease_s)
        if lease is None:
            return False
        if lease.queue != queue:
            self.scheduler.wake(queue)  # what this ticket was sent for still waits
        self._run(lease)
        return True

    def _run(self, lease: Lease) -> None:
        job = self.board.get_job(lease.job)
        with observe_unit(lease, job.origin if job else {}, self.metrics, self.tracer) as seen:
            self._run_held(lease, seen)
        self.scheduler.advance(lease.job)

    def _run_held(self, lease: Lease, seen: Observation) -> None:
        job_id, unit = lease.job, lease.unit
        held = HeldLease(self.board, lease, lease_s=self.settings.lease_s, draining=self.draining)
        try:
            with held:
                done = self._work(job_id, unit, held)
                self.board.finish_unit(job_id, unit, counter=done.counter, tokens=done.tokens, fields=done.fields or {})
            seen.outcome, seen.tokens = "done", done.tokens
        except Cancelled:
            self.board.release_unit(lease, forget_attempt=True)
            seen.outcome = "lost" if held.is_lost else "stopped"
        except (AnalysisError, InvalidRequest) as e:
            # Another attempt would end the same way.
            log.warning("%s", e)
            seen.outcome = "refused"
            self.scheduler.fail(job_id, e.code, e.message)
        except Exception as e:
            # Whatever it was may pass: the unit is tried again, here or elsewhere, as often as allowed.
            log.exception("attempt %d failed", lease.attempt)
            self.board.note_failure(job_id, unit, f"{type(e).__name__}: {e}")
            self.board.release_unit(lease)

    def _work(self, job_id: str, unit: str, held: HeldLease) -> Done:
        job = self.board.get_job(job_id)
        if job is None:
            raise Cancelled
        if job.kind == "activations":
            return self._activate(job, held)
        kind, _, number = unit.partition(":")
        if source := job.request.get("source_job"):
            return self._regroup(job, Layout.result(source), kind, number)
        model = self._model(job)
        analysis = self._analysis(job, model.card, self._corpus(job))
        work: dict[str, Callable[[], Done]] = {
            "plan": lambda: self._plan(analysis, model, job, held),
            "scan": lambda: self._scan(analysis, model, int(number), held),
            "background": lambda: self._background(analysis, model),
            "project": lambda: self._project(analysis, int(number)),
            "merge": lambda: self._merge(analysis, model, int(number)),
            "close": lambda: self._close(analysis, model, job),
        }
        return work[kind]()

    def _activate(self, job: Job, held: HeldLease) -> Done:
        request = ActivationsRequest.from_dict(job.request)
        check = Check(
            request=request,
            store=self.store,
            source=Layout.result(request.job),
            result=Layout.result(job.id),
            block_tokens=self.settings.block_tokens,
            encoder=self.encoder,
        )
        return Done(tokens=write_activations(check, self._model(job), should_stop=held.should_stop))

    def _regroup(self, job: Job, source: str, kind: str, number: str) -> Done:
        """A unit of a job that makes new senses of another's scan. It needs no model."""
        card = self.board.get_card(job.request["model"])
        if card is None:
            raise ModelLoadError(f"model {job.request['model']!r} was never described")
        analysis = self._analysis(job, card, read_corpus(self.store, source))
        if kind == "plan":
            return Done(fields={"shards_total": 0, "layers_total": len(analysis.layers), "tokens_total": 0})
        if kind == "merge":
            regroup_layer(analysis, source, analysis.layers[int(number)])
            return Done("layers_done")
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

    def _analysis(self, job: Job, card: ModelCard, corpus: Corpus) -> Analysis:
        return Analysis(
            request=AnalysisRequest.from_dict(job.request),
            corpus=corpus,
            card=card,
            store=self.store,
            work=Layout.work(job.id),
            result=Layout.result(job.id),
            lens=Layout.LENS,
            block_tokens=self.settings.block_tokens,
            shard_tokens=self.settings.shard_tokens,
            encoder=self.encoder,
        )

    def _plan(self, analysis: Analysis, model: LoadedModel, job: Job, held: HeldLease) -> Done:
        try:
            file = self.store.open(Layout.documents(analysis.corpus.id, job.tenant))
        except FileNotFoundError as e:
            raise AnalysisError(f"the documents of corpus {analysis.corpus.id!r} are not in the store") from e
        with file:
            plan = plan_analysis(analysis, model, read_documents(file), should_stop=held.should_stop)
        return Done(
            fields={
                "shards_total": len(plan.shards),
                "layers_total": len(analysis.layers),
                "tokens_total": plan.tokens,
                "scan_began_at": "@now",
            }
        )

    def _scan(self, analysis: Analysis, model: LoadedModel, shard: int, held: HeldLease) -> Done:
        tokens = scan_shard(analysis, model, shard, on_tokens=held.note_tokens, should_stop=held.should_stop)
        return Done("shards_done", tokens, {"scan_ended_at": "@now"})

    def _background(self, analysis: Analysis, model: LoadedModel) -> Done:
        measure_background(analysis, model)
        return Done()

    def _project(self, analysis: Analysis, shard: int) -> Done:
        project_shard(analysis, shard)
        return Done()

    def _merge(self, analysis: Analysis, model: LoadedModel, ordinal: int) -> Done:
        merge_layer(analysis, model, analysis.layers[ordinal])
        return Done("layers_done")

    def _close(self, analysis: Analysis, model: LoadedModel, job: Job) -> Done:
        close_analysis(analysis, model)
        self._update_card(analysis, job)
        return Done()

    def _update_card(self, analysis: Analysis, job: Job) -> None:
        """Notes on the model's card how fast it went, for estimates."""
        card, total = analysis.card, job.progress.tokens_total
        speed = job.progress.tokens_per_second if len(analysis.layers) == card.layers else card.tokens_per_second
        whole = analysis.request.tokens.max_tokens is None and total
        length = analysis.corpus.characters / total if whole and total else card.characters_per_token
        self.board.put_card(replace(card, tokens_per_second=speed, characters_per_token=length))
