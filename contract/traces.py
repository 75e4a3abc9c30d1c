"""Traces: spans for requests and for units, one trace from the POST to the last unit.

Off unless asked for.

Needs the extra `otel`. OpenTelemetry's own variables set it up: OTEL_EXPORTER_OTLP_ENDPOINT says
where spans go, and without it there are none; OTEL_TRACES_SAMPLER says how many. A span crosses
from the API to the workers as the W3C `traceparent` in the job's record, since a unit may be sent
again by anybody.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OtelSpan

ENDPOINT_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"

Role = Literal["server", "consumer"]
Value = str | int | float
_NO_VALUES: Mapping[str, Value] = {}

log = logging.getLogger(__name__)


class Span(Protocol):
    @property
    def traceparent(self) -> str | None:
        """The W3C header that makes another span this one's child;

        None when nothing is recorded.
        """

    def set(self, **values: Value) -> None: ...

    def fail(self, why: str) -> None: ...

    def end(self) -> None: ...


class Tracer(Protocol):
    def start(
        self,
        name: str,
        role: Role,
        parent: str | None = None,
        values: Mapping[str, Value] = _NO_VALUES,
    ) -> Span:
        """parent: a `traceparent`; None, or one that is malformed, begins a new trace."""


class _NoSpan:
    traceparent = None

    def set(self, **values: Value) -> None:
        pass

    def fail(self, why: str) -> None:
        pass

    def end(self) -> None:
        pass


class NoTracer:
    """Records nothing."""

    _span = _NoSpan()

    def start(
        self,
        name: str,
        role: Role,
        parent: str | None = None,
        values: Mapping[str, Value] = _NO_VALUES,
    ) -> Span:
        return self._span


class OtelTracer:
    """Spans of one OpenTelemetry provider. Attributes are called `polyseme.<name>`."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("polyseme")

    def start(
        self,
        name: str,
        role: Role,
        parent: str | None = None,
        values: Mapping[str, Value] = _NO_VALUES,
    ) -> Span:
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract(
            {"traceparent": parent} if parent else {}, Context()
        )
        kind = SpanKind.SERVER if role == "server" else SpanKind.CONSUMER
        span = _OtelSpan(self._tracer.start_span(name, context, kind))
        span.set(**values)
        return span


class _OtelSpan:
    def __init__(self, span: OtelSpan) -> None:
        self._span = span

    @property
    def traceparent(self) -> str | None:
        found = self._span.get_span_context()
        return (
            f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"
            if found.is_valid
            else None
        )

    def set(self, **values: Value) -> None:
        self._span.set_attributes({f"polyseme.{name}": value for name, value in values.items()})

    def fail(self, why: str) -> None:
        from opentelemetry.trace import StatusCode

        self._span.set_status(StatusCode.ERROR, why)

    def end(self) -> None:
        self._span.end()


def connect_tracer(service: str, environ: Mapping[str, str]) -> Tracer:
    """What the environment asks for.

    `polyseme.service` is the spans' service.name unless OTEL_SERVICE_NAME says another.
    """
    if not environ.get(ENDPOINT_VARIABLE):
        return NoTracer()
    if not _has_exporter():
        log.warning(
            "%s is set, but the extra `otel` is not installed: no traces", ENDPOINT_VARIABLE
        )
        return NoTracer()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": environ.get("OTEL_SERVICE_NAME", service)})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OtelTracer(provider)


def _has_exporter() -> bool:
    try:
        return all(
            find_spec(f"opentelemetry.{name}") for name in ("sdk.trace", "exporter.otlp.proto.http")
        )
    except ModuleNotFoundError:
        return False
