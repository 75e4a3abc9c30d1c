"""The files that operators use, and what the code really offers them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric

from polyseme.contract.board.board import Board
from polyseme.contract.board.outbox import Outbox
from polyseme.contract.files.store import Store
from polyseme.service.monitoring.metrics import Metrics
from polyseme.workers.metrics import WorkerMetrics

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture
def families(board: Board, store: Store) -> list[Metric]:
    """Every metric of the API and of a worker."""
    worker = WorkerMetrics()
    worker.watch(lambda: [1], lambda: 1)
    return [
        *Metrics(board, store, Outbox(board._redis), patience_s=600).families(),
        *worker.registry.collect(),
    ]


def names_of(family: Metric) -> set[str]:
    """The names that its samples have in Prometheus."""
    ends: dict[str, Iterable[str]] = {
        "counter": ["_total"],
        "histogram": ["_bucket", "_count", "_sum"],
        "gauge": [""],
    }
    return {family.name + end for end in ends[family.type]}
