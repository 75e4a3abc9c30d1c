"""Workers whose units only take time, on a real Redis: the real board, scheduler, leases, rounds
and ticket lists.

Each is a thread that takes tickets as Celery's worker does, one at a time and acknowledged once the
unit has ended, through the same library. What is left out is the model, and Celery's own loop
around a task.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from polyseme.contract.board.board import Board
from polyseme.contract.errors import Cancelled
from polyseme.contract.files.results import FORMAT, MANIFEST
from polyseme.contract.files.seals import format_manifest
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.records.job import Job
from polyseme.contract.records.request import AnalysisRequest
from polyseme.contract.settings import Settings
from polyseme.contract.tickets import connect_queue, send_ticket, taken_queues
from polyseme.workers.analysis.models.encoder import LazyEncoder
from polyseme.workers.analysis.models.shelf import ModelShelf
from polyseme.workers.analysis.pipeline import Done, Stage, split_unit
from polyseme.workers.lease import HeldLease
from polyseme.workers.pipelines import stages_of
from polyseme.workers.retention import Reaper
from polyseme.workers.scheduler import Scheduler
from polyseme.workers.units import Runner
from polyseme.workers.worker import Caretaker, Ticker

QUEUE = "default"


@dataclass(frozen=True)
class Pace:
    """Seconds that a unit takes."""

    scan_s: float
    other_s: float  # plan, background, projecting a shard, a merge, close
    jitter: float = 0.0  # 0..1: a scan takes up to this share more or less


@dataclass(frozen=True)
class StubRunner(Runner):
    """Sleeps. How many shards and layers a job has is in its metadata."""

    pace: Pace = field(kw_only=True)
    began: list[tuple[float, str, str]] = field(
        kw_only=True, default_factory=list
    )  # monotonic time, job, unit

    def _work(self, job: Job | None, unit: str, held: HeldLease) -> tuple[Stage[Any], Done]:
        if job is None:
            raise Cancelled
        self.began.append((time.monotonic(), job.id, unit))
        stage, number = split_unit(stages_of(job), unit)
        if stage.name == "scan":
            spread = random.Random(f"{job.id}{number}").uniform(-self.pace.jitter, self.pace.jitter)
            time.sleep(self.pace.scan_s * (1 + spread))
            return stage, Done()
        time.sleep(self.pace.other_s)
        if stage.name == "plan":
            size = job.analysis.metadata
            facts = {"shards_total": size["shards"], "layers_total": size["layers"]}
            return stage, Done(facts=facts)
        if stage.name == "close":  # no job succeeds without one
            manifest = format_manifest({"format": FORMAT}, {})
            self.store.write(f"{Layout.result(job.id)}/{MANIFEST}", manifest)
        return stage, Done()


class _Worker(threading.Thread):
    def __init__(self, redis_url: str, runner: StubRunner) -> None:
        super().__init__(name="stub-worker", daemon=True)
        self._redis_url, self._runner = redis_url, runner

    def run(self) -> None:
        with (
            connect_queue(self._redis_url).connection_for_read() as connection,
            connection.SimpleQueue(*taken_queues([QUEUE]), no_ack=True) as tickets,
        ):
            while not self._runner.draining.is_set():
                try:
                    tickets.get(timeout=0.5)
                except queue.Empty:
                    continue
                self._runner.run_next(QUEUE)


@contextmanager
def running_workers(redis_url: str, store: str, count: int, pace: Pace) -> Iterator[StubRunner]:
    """So many workers until the block ends; each with its own connections and its own ticker.

    Gives one's runner.
    """
    draining = threading.Event()
    runners = [_make_runner(redis_url, Store(store), pace, draining) for _ in range(count)]
    threads = [_Worker(redis_url, runner) for runner in runners]
    tickers = [Ticker(r.board, draining, name=f"stub-{i}") for i, r in enumerate(runners)]
    caretakers = [
        Caretaker(r.board, r.scheduler, Reaper(r.board, r.store), draining, name=f"stub-{i}")
        for i, r in enumerate(runners)
    ]
    with ExitStack() as stack:
        for thread in [*threads, *tickers, *caretakers]:
            stack.callback(thread.join)
            thread.start()
        stack.callback(draining.set)
        yield runners[0]


def _make_runner(redis_url: str, store: Store, pace: Pace, draining: threading.Event) -> StubRunner:
    board, app, settings = Board.connect(redis_url), connect_queue(redis_url), Settings()
    scheduler = Scheduler(board, store, lambda queue: send_ticket(app, queue), settings)
    shelf = ModelShelf(device="cpu", dtype="float32", cache=None, budget_bytes=1)  # type: ignore[arg-type]
    return StubRunner(
        board, store, shelf, LazyEncoder(), {}, scheduler, settings, draining, pace=pace
    )


def submit(
    runner: Runner,
    *,
    shards: int,
    layers: int = 2,
    tenant: str = "default",
    priority: str = "normal",
) -> str:
    """A job, as the API submits it."""
    body = {"model": "stub", "corpus": {"id": "stub"}, "priority": priority}
    request = AnalysisRequest.from_dict(body | {"metadata": {"shards": shards, "layers": layers}})
    job = runner.board.jobs.open(request, tenant=tenant).job
    runner.scheduler.advance(job)
    return job


def await_end(board: Board, job: str, timeout_s: float) -> float:
    """The monotonic time at which the job was seen to have succeeded. Raises TimeoutError."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = board.jobs.get(job)
        if found and found.status == "succeeded":
            return time.monotonic()
        time.sleep(0.02)
    raise TimeoutError(f"{job} did not succeed in {timeout_s} s")


def measure_wait(
    redis_url: str, store: str, *, workers: int, pace: Pace, priority: str, phase: float
) -> float:
    """How many shard-times a job of one shard takes behind one of 200 of another tenant, from
    submit to success.

    phase: 0..1, how far the first worker is in a shard of the large job when the small one is
    submitted.
    """
    with running_workers(redis_url, store, workers, pace) as runner:
        large = submit(runner, shards=200, tenant="large")
        _await_scan(runner, number=3)
        time.sleep(phase * pace.scan_s)
        began = time.monotonic()
        small = submit(runner, shards=1, tenant="small", priority=priority)
        ended = await_end(runner.board, small, 60 * pace.scan_s + 30)
        runner.board.jobs.end(
            large, "failed", {"code": "over", "detail": "it was only to be in the way"}
        )
    return (ended - began) / pace.scan_s


def _await_scan(runner: StubRunner, *, number: int) -> None:
    """Until this worker has begun so many scans."""
    while sum(unit.startswith("scan") for _, _, unit in runner.began) < number:
        time.sleep(0.002)


def measure_speed(redis_url: str, store: str, *, workers: int, shards: int, pace: Pace) -> float:
    """Shards a second that so many workers do of one job, from submit to success."""
    with running_workers(redis_url, store, workers, pace) as runner:
        time.sleep(2.0)  # all wait for tickets
        began = time.monotonic()
        job = submit(runner, shards=shards)
        ended = await_end(runner.board, job, 10 * shards * pace.scan_s)
    return shards / (ended - began)
