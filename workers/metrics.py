"""Prometheus metrics of one worker process, served on a port of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import torch
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

# done; stopped: given back, by a cancel or at the process' end; lost: taken by another worker;
# failed: it may pass another time; refused: it would fail again, so its job ends; waited: the store
# was away.
Outcome = Literal["done", "stopped", "lost", "failed", "refused", "waited"]

_UNIT_S = (0.1, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
_LOAD_S = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class WorkerMetrics:
    """Safe to use from any thread. A registry of its own, so that a process may have several."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._units = Counter(
            "polyseme_units",
            "Units of work ended, by kind and outcome.",
            ("kind", "outcome"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "polyseme_unit_seconds",
            "Time in a unit.",
            ("kind",),
            buckets=_UNIT_S,
            registry=self.registry,
        )
        self._tokens = Counter(
            "polyseme_tokens", "Tokens of finished units.", ("kind",), registry=self.registry
        )
        self._retries = Counter(
            "polyseme_unit_retries",
            "Units begun that had been begun before.",
            ("kind",),
            registry=self.registry,
        )
        self._leases_lost = Counter(
            "polyseme_leases_lost", "Leases that went to another.", registry=self.registry
        )
        self._store_up = Gauge(
            "polyseme_store_up",
            "0 while a unit of this worker waits for the store.",
            registry=self.registry,
        )
        self._store_up.set(1)
        self._loads = Histogram(
            "polyseme_model_load_seconds",
            "Time to load a model.",
            ("model",),
            buckets=_LOAD_S,
            registry=self.registry,
        )

    def note_begin(self, kind: str, attempt: int) -> None:
        self._retries.labels(kind).inc(1 if attempt > 1 else 0)

    def note_end(self, kind: str, outcome: Outcome, seconds: float, tokens: int) -> None:
        self._units.labels(kind, outcome).inc()
        self._seconds.labels(kind).observe(seconds)
        self._tokens.labels(kind).inc(tokens)
        self._leases_lost.inc(1 if outcome == "lost" else 0)

    def note_load(self, model: str, seconds: float) -> None:
        self._loads.labels(model).observe(seconds)

    def note_store(self, is_up: bool) -> None:
        self._store_up.set(int(is_up))

    def watch(
        self, models_bytes: Callable[[], Iterable[int]], written_bytes: Callable[[], int]
    ) -> None:
        """Adds what is read when asked: the sizes of the models in memory, what was written to the
        store, the GPU.
        """
        self.registry.register(_Watched(models_bytes, written_bytes))

    def serve(self, host: str, port: int) -> None:
        """On a thread that ends with the process. Raises OSError when the port is taken."""
        start_http_server(port, host, self.registry)


class _Watched(CollectorRegistry):
    def __init__(
        self, models_bytes: Callable[[], Iterable[int]], written_bytes: Callable[[], int]
    ) -> None:
        super().__init__()
        self._models_bytes, self._written_bytes = models_bytes, written_bytes

    def collect(self) -> Iterator[Metric]:
        sizes = list(self._models_bytes())
        yield GaugeMetricFamily("polyseme_models_loaded", "Models in memory.", value=len(sizes))
        yield GaugeMetricFamily("polyseme_models_bytes", "Their weights.", value=sum(sizes))
        written = self._written_bytes()
        yield CounterMetricFamily(
            "polyseme_store_written_bytes", "Written to the store by this process.", value=written
        )
        yield from gpu_memory()


def gpu_memory() -> Iterator[Metric]:
    """One metric with a sample a device and state; without samples where there is no GPU, or none
    was touched yet.
    """
    family = GaugeMetricFamily(
        "polyseme_gpu_memory_bytes",
        "total; used: by every process; allocated: by this one's tensors; reserved: by its "
        "allocator.",
        labels=["device", "state"],
    )
    # Asking would set CUDA up, which takes memory and belongs to the thread that loads models.
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        for device in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(device)
            states = {
                "total": total,
                "used": total - free,
                "allocated": torch.cuda.memory_allocated(device),
                "reserved": torch.cuda.memory_reserved(device),
            }
            for state, size in states.items():
                family.add_metric([str(device), state], size)
    yield family
