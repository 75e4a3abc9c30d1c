"""What is told of a request: a log line, its metrics, its span, and what its job keeps of it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from flask import Request, g, has_request_context, request

from polyseme.contract.logs import add_log_ids, clear_log_ids, current_log_ids
from polyseme.contract.traces import Span, Tracer
from polyseme.service.monitoring.metrics import Metrics

_log = logging.getLogger("polyseme.access")
# Asked for every few seconds by machines that tell when the answer is bad.
_UNTOLD = frozenset({"/livez", "/readyz", "/metrics"})


@dataclass(frozen=True)
class Observation:
    route: str  # the rule, never the path, so that ids make no new time series
    began: float  # seconds of the performance counter
    span: Span | None


def begin_observing(tracer: Tracer, asked: Request, request_id: str) -> None:
    began, route = time.perf_counter(), asked.url_rule.rule if asked.url_rule else "none"
    clear_log_ids()
    add_log_ids(request=request_id, job=(asked.view_args or {}).get("job_id"))
    span = None
    if route not in _UNTOLD:
        span = tracer.start(f"{asked.method} {route}", "server", asked.headers.get("traceparent"))
    g.observation = Observation(route, began, span)


def end_observing(metrics: Metrics, asked: Request, status: int, log_requests: str) -> None:
    """log_requests: as in the settings."""
    seen: Observation = g.observation
    seconds = time.perf_counter() - seen.began
    metrics.observe(asked.method, seen.route, status, seconds)
    if _is_told(log_requests, seen.route, status):
        fields = {
            "method": asked.method,
            "route": seen.route,
            "status": status,
            "ms": round(seconds * 1e3, 1),
        }
        _log.info("answered", extra={"fields": fields})
    if seen.span is not None:
        seen.span.set(status=status, **current_log_ids())
        if status >= 500:
            seen.span.fail(str(status))


def forget_request(error: BaseException | None) -> None:
    if (span := _span()) is not None:
        span.end()
    clear_log_ids()


def describe_origin() -> dict[str, str]:
    """What a job or batch keeps of the request that made it: its units' records and spans are found
    by it, and the links of its event lead back through the same proxy.
    """
    ids, span = current_log_ids(), _span()
    origin = {
        "request_id": ids.get("request"),
        "tenant": ids.get("tenant"),
        "traceparent": span.traceparent if span else None,
        "base": request.script_root,
    }
    return {name: value for name, value in origin.items() if value}


def _is_told(which: str, route: str, status: int) -> bool:
    if status >= 400:
        return which in ("all", "failed")
    return which == "all" and route not in _UNTOLD


def _span() -> Span | None:
    seen: Observation | None = g.get("observation") if has_request_context() else None
    return seen.span if seen else None
