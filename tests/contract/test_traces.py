from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from polyseme.contract.traces import NoTracer, OtelTracer, connect_tracer

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(spans: InMemorySpanExporter) -> OtelTracer:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return OtelTracer(provider)


def test_a_span_goes_on_with_the_trace_of_its_parent(
    tracer: OtelTracer, spans: InMemorySpanExporter
) -> None:
    span = tracer.start("unit scan", "consumer", PARENT, {"job": "job_1"})
    span.end()

    (found,) = spans.get_finished_spans()
    assert (found.name, found.kind, dict(found.attributes or {})) == (
        "unit scan",
        SpanKind.CONSUMER,
        {"polyseme.job": "job_1"},
    )
    assert f"{found.context.trace_id:032x}" == PARENT.split("-")[1]
    assert found.parent is not None
    assert f"{found.parent.span_id:016x}" == PARENT.split("-")[2]


def test_a_traceparent_leads_from_one_span_to_the_next(
    tracer: OtelTracer, spans: InMemorySpanExporter
) -> None:
    first = tracer.start("first", "server")
    second = tracer.start("second", "consumer", first.traceparent)
    second.end()
    first.end()

    child, parent = spans.get_finished_spans()
    assert child.parent is not None
    assert child.parent.span_id == parent.context.span_id
    assert child.context.trace_id == parent.context.trace_id


@pytest.mark.parametrize(
    "header", ["", "junk", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "\r\nx: y"]
)
def test_a_malformed_parent_begins_a_new_trace(
    tracer: OtelTracer, spans: InMemorySpanExporter, header: str
) -> None:
    tracer.start("alone", "server", header).end()

    assert spans.get_finished_spans()[0].parent is None


def test_a_failed_span_says_so(tracer: OtelTracer, spans: InMemorySpanExporter) -> None:
    span = tracer.start("bad", "server")
    span.fail("500")
    span.end()

    status = spans.get_finished_spans()[0].status
    assert (status.status_code, status.description) == (StatusCode.ERROR, "500")


def test_without_an_endpoint_there_are_no_traces() -> None:
    tracer = connect_tracer("polyseme-api", {})

    assert isinstance(tracer, NoTracer)
    assert tracer.start("x", "server").traceparent is None


def test_with_an_endpoint_there_are() -> None:
    tracer = connect_tracer("polyseme-api", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})

    assert isinstance(tracer, OtelTracer)


BLOCKED = """
import logging, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
logging.basicConfig()
from polyseme.contract.traces import connect_tracer
print(type(connect_tracer("x", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})).__name__)
"""


def test_without_the_extra_a_warning_says_so_and_the_service_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "NoTracer"
    assert "extra `otel` is not installed" in done.stderr
