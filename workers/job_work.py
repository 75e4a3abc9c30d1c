"""What the units of a job run with: its analysis, its model, its corpus.

The table of stages has what a unit does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import IO, Any

from polyseme.contract.board.board import Board
from polyseme.contract.errors import AnalysisError, DamagedFile, ModelLoadError
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.files.vector_sets import read_numbers
from polyseme.contract.records.catalogue import Entry
from polyseme.contract.records.job import Corpus, Job
from polyseme.contract.records.model_card import ModelCard
from polyseme.contract.records.planned import Planned, cut_of, reader_of
from polyseme.contract.records.request import AnalysisRequest
from polyseme.contract.settings import Settings
from polyseme.workers.analysis.live.check import Check
from polyseme.workers.analysis.machine.limits import Limits
from polyseme.workers.analysis.models.encoder import LazyEncoder
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.models.shelf import ModelShelf
from polyseme.workers.analysis.pipeline import (
    ANALYSIS,
    CHECK,
    REGROUPING,
    AnalysisWork,
    CheckWork,
    Done,
    RegroupingWork,
    Size,
    Stage,
    split_unit,
)
from polyseme.workers.analysis.reports.result_files import read_manifest
from polyseme.workers.analysis.sites.latents import Latents
from polyseme.workers.analysis.sites.latents import make_site as make_latents_site
from polyseme.workers.analysis.sites.own_vectors import site_of_set
from polyseme.workers.analysis.sites.site import Site
from polyseme.workers.analysis.steps.analysis import Analysis
from polyseme.workers.analysis.steps.manifest import scan_address
from polyseme.workers.analysis.steps.regrouping import read_corpus, read_own_site
from polyseme.workers.dictionary_shelf import DictionaryShelf
from polyseme.workers.lease import HeldLease
from polyseme.workers.pipelines import size_of, stages_of
from polyseme.workers.reuse import may_reuse, plan_reuse, work_folder

# Of a corpus whose scan is worth measuring: in a smaller one begin and end of units weigh too much.
_MEASURED_BLOCKS = 16


@dataclass(frozen=True)
class JobWork:
    board: Board
    store: Store
    shelf: ModelShelf
    encoder: LazyEncoder
    catalogue: dict[str, Entry]
    settings: Settings
    dictionaries: DictionaryShelf

    def run(self, job: Job, unit: str, held: HeldLease) -> tuple[Stage[Any], Done]:
        """Runs a unit. Raises what its step raises."""
        stages = stages_of(job)
        stage, number = split_unit(stages, unit)
        if stages is CHECK:
            return stage, _run_timed(stage, self._check_work(job, held), number)
        if stages is REGROUPING:
            return stage, _run_timed(stage, self._regrouping_work(job, held), number)
        return stage, self._run_analysis(job, stage, number, held)

    def _run_analysis(
        self, job: Job, stage: Stage[AnalysisWork], number: int, held: HeldLease
    ) -> Done:
        model = self._model(job)
        own = self._own_site(job.analysis, job.tenant, model)
        analysis = self._analysis(job, model.card_with(own), self._corpus(job), own)
        analysis = replace(analysis, latents=self._latents(job.analysis, model))
        address = scan_address(analysis, model)
        if stage is ANALYSIS[0]:
            analysis = self._choose_reused(analysis, job, address, held)
        work = AnalysisWork(
            analysis,
            model,
            lambda: self._open_documents(job),
            size_of(job) or Size(),
            held.note_tokens,
            held.should_stop,
        )
        done = _run_timed(stage, work, number)
        if stage is ANALYSIS[-1]:
            self._note_speeds(analysis, job)
        facts = dict(done.facts)
        if stage is ANALYSIS[0]:
            self._note_planned(analysis, job, facts)
            facts = {"calibration_parts": 0, "scan_address": address, **facts}
            facts["reused"] = json.dumps(analysis.reused)
        elif job.scan_address not in ("", address):
            # Only a job that ran on workers alike, with the same versions and devices, is a source
            # for others.
            facts["scan_address"] = ""
        if job.progress.shards_done:
            # A plan or bands that are made again do not make the scan any younger.
            facts.pop("scan_began_at", None)
        return replace(done, facts=facts)

    def _choose_reused(
        self, analysis: Analysis, job: Job, address: str, held: HeldLease
    ) -> Analysis:
        fresh = replace(analysis, reused={}, work=Layout.work(job.id))
        if not may_reuse(job):
            return fresh
        return plan_reuse(self.board, fresh, job, address, should_stop=held.should_stop)

    def _regrouping_work(self, job: Job, held: HeldLease) -> RegroupingWork:
        card = self.board.registry.get_card(job.request.model)
        if card is None:
            raise ModelLoadError(
                f"model {job.request.model!r} is not in the catalogue, so nothing is known of it"
            )
        source = Layout.result(job.analysis.source_job or "")
        corpus, own = read_corpus(self.store, source), None
        if (brought := read_own_site(self.store, source)) is not None:
            of_result, own = brought
            card = card.with_site(of_result)
        analysis = self._analysis(job, card, corpus, own)
        return RegroupingWork(analysis, source, held.should_stop)

    def _check_work(self, job: Job, held: HeldLease) -> CheckWork:
        request, model = job.check, self._model(job)
        source = Layout.result(request.job)
        analysed = AnalysisRequest.from_dict(read_manifest(self.store, source)["request"])
        check = Check(
            request=request,
            store=self.store,
            source=source,
            result=Layout.result(job.id),
            block_tokens=self._limits(model.card).block_tokens,
            encoder=self.encoder,
            own_site=self._own_site(analysed, job.tenant, model),
        )
        return CheckWork(check, model, held.should_stop)

    def _model(self, job: Job) -> LoadedModel:
        model = job.request.model
        if (entry := self.catalogue.get(model)) is None:
            raise ModelLoadError(f"model {model!r} is not in this worker's catalogue")
        return self.shelf.get(entry)

    def _own_site(self, request: AnalysisRequest, tenant: str, model: LoadedModel) -> Site | None:
        """What the units are where the model does not have them itself. Raises AnalysisError."""
        if (name := request.neurons.vectors) is not None:
            return self._vectors_site(name, tenant, model)
        latents = self._latents(request, model)
        return make_latents_site(latents) if latents else None

    def _vectors_site(self, name: str, tenant: str, model: LoadedModel) -> Site:
        """Of uploaded directions. Raises AnalysisError."""
        if (vectors := self.board.registry.get_vectors(name, tenant)) is None:
            raise AnalysisError(f"the vectors {name!r} were deleted")
        try:
            numbers = read_numbers(self.store, vectors, tenant)
        except FileNotFoundError as e:
            raise AnalysisError(f"the file of the vectors {name!r} is not in the store") from e
        except DamagedFile as e:
            # Nothing can make it again, so it is no file that a unit is run anew for.
            raise AnalysisError(f"the vectors {name!r} are damaged: {e.message}") from e
        return site_of_set(vectors, numbers, model.parts)

    def _latents(self, request: AnalysisRequest, model: LoadedModel) -> dict[int, Latents]:
        """By layer; of a job over dictionaries alone. Raises DictionaryLoadError."""
        names = request.neurons.dictionary
        return {} if names is None else self.dictionaries.get(model, names)

    def _corpus(self, job: Job) -> Corpus:
        name = job.analysis.corpus
        if (corpus := self.board.registry.get_corpus(name, job.tenant)) is None:
            raise AnalysisError(f"corpus {name!r} was deleted")
        return corpus

    def _open_documents(self, job: Job) -> IO[bytes]:
        corpus = job.analysis.corpus
        try:
            return self.store.open(Layout.documents(corpus, job.tenant))
        except FileNotFoundError as e:
            raise AnalysisError(f"the documents of corpus {corpus!r} are not in the store") from e

    def _limits(self, card: ModelCard) -> Limits:
        wanted = Limits(self.settings.block_tokens, self.settings.shard_tokens)
        return wanted.on(self.shelf.device, self.shelf.dtype, card)

    def _analysis(
        self, job: Job, card: ModelCard, corpus: Corpus, own_site: Site | None = None
    ) -> Analysis:
        limits = self._limits(card)
        return Analysis(
            request=job.analysis,
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
            own_site=own_site,
        )

    def _note_planned(
        self, analysis: Analysis, job: Job, facts: Mapping[str, str | int | float]
    ) -> None:
        """Notes how many tokens and windows the whole corpus has, for estimates."""
        request, corpus, registry = analysis.request, analysis.corpus, self.board.registry
        card = registry.get_card(request.model)
        if request.tokens.max_tokens is not None or "windows_total" not in facts or card is None:
            return
        planned = Planned(int(facts["tokens_total"]), int(facts["windows_total"]))
        reader = reader_of(card, corpus)
        registry.note_planned(corpus.id, job.tenant, reader, cut_of(request), planned)
        own = planned.tokens - planned.windows * card.adds_bos(request.tokens.bos)
        if own >= _MEASURED_BLOCKS * analysis.block_tokens:
            registry.put_card(replace(card, characters_per_token=corpus.characters / own))

    def _note_speeds(self, analysis: Analysis, job: Job) -> None:
        """Notes on the model's card how fast a whole scan and its merges went, for estimates."""
        request, total = analysis.request, job.progress.tokens_total or 0
        is_whole = (
            analysis.own_site is None
            and len(analysis.scanned) == analysis.card.layers
            and request.neurons.indices == "all"
            and request.senses.enabled
            and total >= _MEASURED_BLOCKS * analysis.block_tokens
        )
        card, busy = self.board.registry.get_card(job.request.model), job.busy
        if not is_whole or card is None or not (busy.before_merges_s and busy.merges_s):
            return
        units = card.site(request.neurons.site).units
        self.board.registry.put_card(
            replace(
                card,
                tokens_per_second=total / busy.before_merges_s,
                neurons_per_second=card.layers * units / busy.merges_s,
            )
        )


def _run_timed(stage: Stage[Any], work: Any, number: int) -> Done:
    began = time.monotonic()
    done = stage.run(work, number)
    return replace(done, seconds=time.monotonic() - began)
