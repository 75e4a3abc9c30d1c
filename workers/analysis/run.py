"""A whole analysis in one process, with no queue and no server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from polyseme.contract.files.documents import write_documents
from polyseme.contract.files.store import Store
from polyseme.contract.records.request import AnalysisRequest
from polyseme.contract.texts import read as texts
from polyseme.contract.texts.formats import Notes, Reading
from polyseme.workers.analysis.machine.limits import BY_DEVICE, Limits
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.pipeline import ANALYSIS, AnalysisWork, Size, Stage
from polyseme.workers.analysis.sites.latents import Latents
from polyseme.workers.analysis.sites.site import Site
from polyseme.workers.analysis.steps.analysis import Analysis

MAX_DOCUMENTS = 100_000_000
NO_LATENTS: Mapping[int, Latents] = MappingProxyType({})

_CHUNK = 1 << 16
WHOLE = Reading(max_bytes=1 << 62)
_log = logging.getLogger(__name__)


def run_analysis(
    model: LoadedModel,
    request: AnalysisRequest,
    texts: Iterable[str],
    folder: str | Path,
    *,
    limits: Limits = BY_DEVICE,
    own_site: Site | None = None,
    latents: Mapping[int, Latents] = NO_LATENTS,
    on_progress: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> Analysis:
    """Analyses the documents and leaves the result's files in `folder`. texts: one may be a
    `TextInLanguage`; own_site: of units that are not the model's own; latents: of the dictionaries
    that it is made of, by layer.

    Layers count as progress of "merging".
    """
    store = Store(str(folder))
    with store.writing("work/documents.parquet") as f:
        corpus = write_documents(
            texts, f, name=request.corpus, max_documents=MAX_DOCUMENTS, has_languages=True
        )
    sizes = limits.on(model.device, model.dtype, model.card)
    card = model.card_with(own_site)
    analysis = Analysis(
        card.settle(request),
        corpus,
        card,
        store,
        "work",
        ".",
        "work/lens",
        sizes.block_tokens,
        sizes.shard_tokens,
        own_site=own_site,
        latents=latents,
    )
    work = AnalysisWork(analysis, model, lambda: store.open("work/documents.parquet"))
    _run_stages(work, on_progress)
    store.delete("work")
    return analysis


def _run_stages(work: AnalysisWork, on_progress: Callable[[str, int, int], None]) -> None:
    size, tokens, total = Size.before_plan(work.analysis.request), 0, 0

    def on_tokens(stage: Stage[AnalysisWork], before: int, now: int) -> None:
        on_progress(stage.phase, before + now, total or now)

    for stage in ANALYSIS:
        for number in range(stage.count(size)):
            report = partial(on_tokens, stage, tokens)
            done = stage.run(replace(work, size=size, on_tokens=report), number)
            size, tokens = size.after(done.facts), tokens + done.tokens
            total = int(done.facts.get("tokens_total", total))
            if stage.phase == "merging":
                on_progress(stage.phase, number + 1, size.layers)


def read_texts(path: Path, reading: Reading = WHOLE) -> Iterator[str]:
    """The documents of a file, by what is in it: see `polyseme.contract.texts`.

    What was left out is logged. Raises InvalidCorpus, UnsupportedMedia, MalformedRequest.
    """
    notes = Notes()
    with path.open("rb") as file:
        chunks = iter(partial(file.read, _CHUNK), b"")
        yield from texts.read_texts(chunks, replace(reading, filename=path.name), notes)
    if notes.bad_lines_skipped:
        _log.warning("%s: %d bad lines were skipped", path, notes.bad_lines_skipped)
    for warning in notes.warnings:
        _log.warning("%s: %s", path, warning)
