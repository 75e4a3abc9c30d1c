"""Prometheus metrics: requests of this service, the queue, jobs and workers.

Sums over gunicorn's processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import redis
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from polyseme.contract.board.board import Board
from polyseme.contract.board.outbox import Outbox
from polyseme.contract.files.store import Store
from polyseme.service.monitoring.census import Census, take_census

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# prometheus_client reads this variable itself, once, when it is first imported; an entry point sets
# it.
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_LATENCIES_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30)


class Metrics:
    def __init__(self, board: Board, store: Store, outbox: Outbox, *, patience_s: float) -> None:
        """patience_s: the workers' `queue_patience_s`."""
        self._store, self._counted_bytes = store, 0
        self._board = _BoardCollector(board, outbox, patience_s)
        self.registry = CollectorRegistry()
        labels = ("method", "route")
        self._requests = Counter(
            "polyseme_http_requests",
            "Requests answered.",
            (*labels, "status"),
            registry=self.registry,
        )
        self._latency = Histogram(
            "polyseme_http_request_seconds",
            "Time to the first byte.",
            labels,
            buckets=_LATENCIES_S,
            registry=self.registry,
        )
        self._written = Counter(
            "polyseme_store_written_bytes",
            "Written to the store by this process.",
            registry=self.registry,
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, str(status)).inc()
        self._latency.labels(method, route).observe(seconds)
        if self._store.written_bytes != self._counted_bytes:
            self._count_written()

    def render(self) -> bytes:
        return generate_latest(self._processes()) + generate_latest(self._board)

    def families(self) -> Iterator[Metric]:
        """Of this process and the board, without samples of the other processes."""
        yield from self.registry.collect()
        yield from self._board.collect()

    def _count_written(self) -> None:
        written, before = self._store.written_bytes, self._counted_bytes
        self._counted_bytes = written
        self._written.inc(max(written - before, 0))

    def _processes(self) -> CollectorRegistry:
        if FOLDER_VARIABLE not in os.environ:
            return self.registry
        together = CollectorRegistry()
        MultiProcessCollector(together)
        return together


class _BoardCollector(CollectorRegistry):
    """Gauges read from the board when asked; the same from every process."""

    def __init__(self, board: Board, outbox: Outbox, patience_s: float) -> None:
        super().__init__()
        self._read = board
        self._outbox = outbox
        self._patience_s = patience_s

    def collect(self) -> Iterator[Metric]:
        try:
            waiting = self._read.units.count_waiting()
            servers, workers = self._read.workers.count_by_queue(), self._read.workers.count()
            census = take_census(self._read.jobs.survey(), self._patience_s)
            events = self._outbox.count()
        except redis.RedisError:
            yield GaugeMetricFamily("polyseme_board_up", "Whether the job board answers.", value=0)
            return
        yield GaugeMetricFamily("polyseme_board_up", "Whether the job board answers.", value=1)
        queued = GaugeMetricFamily(
            "polyseme_queue_units", "Units waiting.", labels=["queue", "priority"]
        )
        for (queue, priority), units in waiting.items():
            queued.add_metric([queue, priority], units)
        yield queued
        serving = GaugeMetricFamily(
            "polyseme_queue_workers", "Workers seen of late, by queue.", labels=["queue"]
        )
        for queue in sorted({*servers, *(queue for queue, _ in waiting)}):
            serving.add_metric([queue], servers.get(queue, 0))
        yield serving
        yield GaugeMetricFamily("polyseme_workers", "Workers seen of late.", value=workers)
        yield GaugeMetricFamily(
            "polyseme_webhooks_pending", "Events neither delivered nor given up.", value=events
        )
        yield from _describe(census)


def _describe(census: Census) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "polyseme_active_jobs", "Jobs that have not ended.", value=sum(census.active.values())
    )
    yield _by("status", "polyseme_jobs", "Jobs that have not ended, by status.", census.active)
    yield GaugeMetricFamily(
        "polyseme_jobs_awaiting_store",
        "Jobs that wait for the store.",
        value=census.awaiting_store,
    )
    yield GaugeMetricFamily(
        "polyseme_jobs_awaiting_other_worker",
        "Jobs that workers gave back: of a newer version, or with words of another encoder.",
        value=census.awaiting_other_worker,
    )
    ended = CounterMetricFamily(
        "polyseme_jobs_ended", "Jobs that have ended, by status.", labels=["status"]
    )
    for status, count in census.ended.items():
        ended.add_metric([status], count)
    yield ended
    units = {"waiting": census.units_waiting, "running": census.units_running}
    yield _by(
        "state", "polyseme_units_in_flight", "Units sent and not ended: waiting or running.", units
    )
    yield GaugeMetricFamily(
        "polyseme_oldest_unit_wait_seconds",
        "Since the oldest waiting unit was sent.",
        value=census.oldest_wait_s,
    )
    yield GaugeMetricFamily(
        "polyseme_oldest_queued_job_seconds",
        "Age of the oldest queued job.",
        value=census.oldest_queued_s,
    )


def _by(label: str, name: str, text: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family
