"""What is told of a unit while it runs: a log line when it begins and ends, its metrics, its
span.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from polyseme.contract.board.units import Lease
from polyseme.contract.logs import log_ids
from polyseme.contract.traces import Span, Tracer
from polyseme.workers.metrics import Outcome, WorkerMetrics

log = logging.getLogger(__name__)


@dataclass
class Observation:
    """How a unit ends; whoever runs it says so."""

    outcome: Outcome = "failed"
    tokens: int = 0


@contextmanager
def observe_unit(
    lease: Lease, origin: Mapping[str, str], metrics: WorkerMetrics, tracer: Tracer
) -> Iterator[Observation]:
    """Around a unit. origin: of its job; the records and the span carry its request's id and
    trace.
    """
    kind = lease.unit.partition(":")[0]
    ids = {"job": lease.job, "unit": lease.unit}
    span = tracer.start(
        f"unit {kind}",
        "consumer",
        origin.get("traceparent"),
        {**ids, "kind": kind, "attempt": lease.attempt},
    )
    seen, began = Observation(), time.monotonic()
    metrics.note_begin(kind, lease.attempt)
    with log_ids(**ids, request=origin.get("request_id"), tenant=origin.get("tenant")):
        log.info("begun", extra={"fields": {"attempt": lease.attempt}})
        try:
            yield seen
        finally:
            seconds = time.monotonic() - began
            metrics.note_end(kind, seen.outcome, seconds, seen.tokens)
            fields = {"outcome": seen.outcome, "seconds": round(seconds, 3), "tokens": seen.tokens}
            log.info("ended", extra={"fields": fields})
            _end_span(span, seen)


def _end_span(span: Span, seen: Observation) -> None:
    span.set(outcome=seen.outcome, tokens=seen.tokens)
    if seen.outcome in ("failed", "refused"):
        span.fail(seen.outcome)
    span.end()
