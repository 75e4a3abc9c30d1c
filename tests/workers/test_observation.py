"""What is told of units that run on a real board."""

from __future__ import annotations

import logging
from dataclasses import replace

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from polyseme.contract.board.units import Lease
from polyseme.contract.logs import current_log_ids
from polyseme.contract.traces import NoTracer, OtelTracer
from polyseme.workers.metrics import Outcome, WorkerMetrics
from polyseme.workers.observation import observe_unit
from tests.client.standins import free_port

LEASE = Lease("job_1", "scan:3", "token", 2)


def value(metrics: WorkerMetrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def test_a_unit_is_counted_by_kind_and_outcome_with_its_tokens_and_seconds() -> None:
    metrics = WorkerMetrics()

    with observe_unit(LEASE, {}, metrics, NoTracer()) as seen:
        seen.outcome, seen.tokens = "done", 640

    assert value(metrics, "polyseme_units_total", kind="scan", outcome="done") == 1
    assert value(metrics, "polyseme_tokens_total", kind="scan") == 640
    assert value(metrics, "polyseme_unit_retries_total", kind="scan") == 1
    assert value(metrics, "polyseme_unit_seconds_count", kind="scan") == 1


def test_a_first_attempt_is_no_retry_and_a_unit_that_raises_has_failed() -> None:
    metrics = WorkerMetrics()

    with (
        pytest.raises(ZeroDivisionError),
        observe_unit(replace(LEASE, attempt=1), {}, metrics, NoTracer()),
    ):
        raise ZeroDivisionError

    assert value(metrics, "polyseme_unit_retries_total", kind="scan") == 0
    assert value(metrics, "polyseme_units_total", kind="scan", outcome="failed") == 1


@pytest.mark.parametrize(("outcome", "lost"), [("lost", 1), ("stopped", 0)])
def test_a_lost_lease_is_counted(outcome: Outcome, lost: int) -> None:
    metrics = WorkerMetrics()

    with observe_unit(LEASE, {}, metrics, NoTracer()) as seen:
        seen.outcome = outcome

    assert value(metrics, "polyseme_leases_lost_total") == lost


def test_records_inside_a_unit_carry_its_ids_and_its_requests(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    with observe_unit(LEASE, {"request_id": "r1", "tenant": "t1"}, WorkerMetrics(), NoTracer()):
        ids = dict(current_log_ids())

    assert ids == {"job": "job_1", "unit": "scan:3", "request": "r1", "tenant": "t1"}
    begun, ended = (r for r in caplog.records if r.name == "polyseme.workers.observation")
    assert (begun.getMessage(), ended.getMessage()) == ("begun", "ended")
    assert set(ended.fields) == {"outcome", "seconds", "tokens"}  # type: ignore[attr-defined]


def test_a_units_span_is_part_of_its_requests_trace() -> None:
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    origin = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}

    with observe_unit(LEASE, origin, WorkerMetrics(), OtelTracer(provider)) as seen:
        seen.outcome = "refused"

    (span,) = spans.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert not span.status.is_ok
    assert (span.attributes or {})["polyseme.unit"] == "scan:3"


def test_metrics_are_served_on_a_port() -> None:
    metrics, port = WorkerMetrics(), free_port()
    metrics.watch(lambda: [10, 30], lambda: 7)
    metrics.note_load("tiny", 0.2)

    metrics.serve("127.0.0.1", port)
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text

    assert "polyseme_models_loaded 2.0" in text
    assert "polyseme_models_bytes 40.0" in text
    assert "polyseme_store_written_bytes_total 7.0" in text
    assert 'polyseme_model_load_seconds_count{model="tiny"} 1.0' in text
