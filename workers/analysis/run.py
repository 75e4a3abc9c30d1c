"""A whole analysis in one process, with no queue and no server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from contract.documents import read_documents, write_documents
from contract.errors import InvalidCorpus
from contract.request import AnalysisRequest
from contract.store import Store
from workers.analysis.limits import BY_DEVICE, Limits
from workers.analysis.merging import close_analysis, measure_background, merge_layer, project_shard
from workers.analysis.model import LoadedModel
from workers.analysis.plan import Plan
from workers.analysis.planning import plan_analysis
from workers.analysis.steps import Analysis, scan_shard

MAX_DOCUMENTS = 100_000_000


def run_analysis(
    model: LoadedModel,
    request: AnalysisRequest,
    texts: Iterable[str],
    folder: str | Path,
    *,
    limits: Limits = BY_DEVICE,
    on_progress: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> Analysis:
    """Analyses the documents and leaves the result's files in `folder`. Layers count as progress of "merging"."""
    store = Store(str(folder))
    with store.writing("work/documents.parquet") as f:
        corpus = write_documents(texts, f, name=request.corpus, max_documents=MAX_DOCUMENTS)
    sizes = limits.on(model.device, model.dtype, model.card)
    analysis = Analysis(
        request, corpus, model.card, store, "work", ".", "work/lens", sizes.block_tokens, sizes.shard_tokens
    )
    with store.open("work/documents.parquet") as f:
        plan = plan_analysis(analysis, model, read_documents(f), on_tokens=lambda n: on_progress("planning", n, n))
    _scan_all(analysis, model, plan, on_progress)
    if request.senses.enabled:
        measure_background(analysis, model)
        for shard in range(len(plan.shards)):
            project_shard(analysis, shard)
    for i, layer in enumerate(analysis.layers):
        merge_layer(analysis, model, layer)
        on_progress("merging", i + 1, len(analysis.layers))
    close_analysis(analysis, model)
    store.delete("work")
    return analysis


def _scan_all(analysis: Analysis, model: LoadedModel, plan: Plan, on_progress: Callable[[str, int, int], None]) -> None:
    before = 0
    for number, shard in enumerate(plan.shards):
        scan_shard(
            analysis,
            model,
            number,
            on_tokens=lambda n, b=before: on_progress("scanning", b + n, plan.tokens),  # type: ignore[misc]
        )
        before += shard.tokens


def read_texts(path: Path) -> Iterator[str]:
    """The documents of a file: .parquet with a `text` column, .jsonl with a "text" in each line, else a line each."""
    if path.suffix == ".parquet":
        with path.open("rb") as f:
            yield from read_documents(f)
        return
    with path.open(encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            if path.suffix in (".jsonl", ".ndjson"):
                yield _text_of(line, f"{path}, line {number}")
            else:
                yield line.rstrip("\n")


def _text_of(line: str, where: str) -> str:
    try:
        item = json.loads(line)
    except json.JSONDecodeError as e:
        raise InvalidCorpus(f"{where}: {e}") from e
    text = item.get("text") if isinstance(item, dict) else item
    if not isinstance(text, str):
        raise InvalidCorpus(f'{where}: expected {{"text": "…"}} or a JSON string')
    return text
