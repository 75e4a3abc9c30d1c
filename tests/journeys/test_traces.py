"""One trace and one request id, from a POST to the units that workers run."""

from __future__ import annotations

import threading
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Store
from polyseme.contract.names import DEFAULT_QUEUE
from polyseme.contract.traces import OtelTracer
from polyseme.service.app import create_app
from polyseme.workers.analysis.models.encoder import LazyEncoder
from polyseme.workers.analysis.models.load import describe_model
from polyseme.workers.analysis.models.shelf import ModelShelf
from polyseme.workers.metrics import WorkerMetrics
from polyseme.workers.scheduler import Scheduler
from polyseme.workers.units import Runner
from tests.factories import add_corpus, make_body, queue_alone
from tests.service.conftest import make_settings
from tests.tiny_models import save_model


def recording() -> tuple[OtelTracer, InMemorySpanExporter]:
    """API and workers are different processes, so each has a provider of its own."""
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return OtelTracer(provider), spans


def by_name(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans.get_finished_spans()}


def test_one_trace_runs_from_the_post_to_the_units(
    board: Board, store: Store, redis_url: str, tmp_path: Path
) -> None:
    api, asked = recording()
    worker, worked = recording()
    settings = make_settings(redis_url, tmp_path)
    entry = save_model("llama", tmp_path / "model")
    board.registry.put_card(describe_model(entry, tmp_path / "cache"))
    add_corpus(board, store)
    shelf = ModelShelf(
        device="cpu", dtype="float32", cache=tmp_path / "cache", budget_bytes=1 << 30
    )
    scheduler = Scheduler(board, store, lambda queue: None, settings)
    runner = Runner(
        board,
        store,
        shelf,
        LazyEncoder(),
        {entry.id: entry},
        scheduler,
        settings,
        threading.Event(),
        WorkerMetrics(),
        worker,
    )
    http = create_app(settings, api).test_client()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    body = make_body(model=entry.id, contexts={"window": 32, "top_k": 4})
    job = http.post("/v1/jobs", json=body, headers={"traceparent": parent}).get_json()["id"]
    for unit in ("plan", "scan:0"):
        queue_alone(board, job, unit)
        runner.run_next(DEFAULT_QUEUE)

    post, units = by_name(asked)["POST /v1/jobs"], by_name(worked)
    assert f"{post.context.trace_id:032x}" == parent.split("-")[1]
    assert set(units) == {"unit plan", "unit scan"}
    for span in units.values():
        assert span.context.trace_id == post.context.trace_id
        assert span.parent is not None
        assert span.parent.span_id == post.context.span_id
        assert (span.attributes or {})["polyseme.job"] == job
        assert (span.attributes or {})["polyseme.outcome"] == "done"
