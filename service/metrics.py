"""Prometheus metrics: requests of this service, the queue, jobs and workers. Sums over gunicorn's processes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import redis
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from contract.board import Board
from contract.queue import queue_keys
from contract.webhooks import Outbox

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# prometheus_client reads this variable itself, once, when it is first imported; an entry point sets it.
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_LATENCIES_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30)


class Metrics:
    def __init__(self, board: Board, outbox: Outbox) -> None:
        self._board = _BoardCollector(board, outbox)
        self._registry = CollectorRegistry()
        labels = ("method", "route")
        self._requests = Counter(
            "polyseme_http_requests", "Requests answered.", (*labels, "status"), registry=self._registry
        )
        self._latency = Histogram(
            "polyseme_http_request_seconds",
            "Time to the first byte.",
            labels,
            buckets=_LATENCIES_S,
            registry=self._registry,
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, str(status)).inc()
        self._latency.labels(method, route).observe(seconds)

    def render(self) -> bytes:
        return generate_latest(self._processes()) + generate_latest(self._board)

    def _processes(self) -> CollectorRegistry:
        if FOLDER_VARIABLE not in os.environ:
            return self._registry
        together = CollectorRegistry()
        MultiProcessCollector(together)
        return together


class _BoardCollector(CollectorRegistry):
    """Gauges read from the board when asked; the same from every process."""

    def __init__(self, board: Board, outbox: Outbox) -> None:
        super().__init__()
        self._read = board
        self._outbox = outbox

    def collect(self) -> Iterator[Metric]:
        try:
            depth = self._read.list_lengths(queue_keys())
            active, workers = self._read.count_active(), self._read.count_workers()
            events = self._outbox.count()
        except redis.RedisError:
            yield GaugeMetricFamily("polyseme_board_up", "Whether the job board answers.", value=0)
            return
        yield GaugeMetricFamily("polyseme_board_up", "Whether the job board answers.", value=1)
        queued = GaugeMetricFamily("polyseme_queue_tickets", "Tickets waiting, by priority.", labels=["priority"])
        for priority, length in depth.items():
            queued.add_metric([priority], length)
        yield queued
        yield GaugeMetricFamily("polyseme_active_jobs", "Jobs that have not ended.", value=active)
        yield GaugeMetricFamily("polyseme_workers", "Workers seen of late.", value=workers)
        yield GaugeMetricFamily("polyseme_webhooks_pending", "Events neither delivered nor given up.", value=events)
