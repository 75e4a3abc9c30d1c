"""A worker process: a Celery consumer with one task, beside a thread that keeps jobs moving and says it is alive."""

from __future__ import annotations

import logging
import os
import socket
import threading
from pathlib import Path

import redis
from celery import Celery
from celery.signals import worker_shutting_down
from kombu.exceptions import OperationalError

from contract.board import Board, worker_name
from contract.catalogue import Entry, load_catalogue
from contract.queue import RUN_UNIT, connect_queue, send_unit
from contract.settings import Settings
from contract.store import Store
from workers.analysis.encoder import LazyEncoder
from workers.analysis.model import ModelShelf, describe_model
from workers.analysis.threads import set_threads
from workers.retention import Reaper
from workers.scheduler import Scheduler
from workers.units import Runner

log = logging.getLogger(__name__)

TICK_S = 3.0


def run_worker(settings: Settings) -> None:
    """Describes the catalogue's models on the board, then takes units until told to end."""
    set_threads(settings.threads)
    board = Board.connect(settings.redis_url)
    app = connect_queue(settings.redis_url)
    catalogue = load_catalogue(settings.catalogue)
    runner = _make_runner(settings, board, app, catalogue)
    publish_cards(board, catalogue, Path(settings.cache))
    _register_task(app, runner)
    _Ticker(board, runner.scheduler, Reaper(board, runner.store), runner.draining).start()
    name = f"polyseme@{socket.gethostname()}-{os.getpid()}"
    app.Worker(hostname=name, loglevel="INFO", without_gossip=True, without_mingle=True, without_heartbeat=True).start()


def publish_cards(board: Board, catalogue: dict[str, Entry], cache: Path) -> None:
    """Puts a card for every listed model on the board. Speeds that an earlier worker measured are kept."""
    for entry in catalogue.values():
        log.info("describing %s (%s)", entry.id, entry.source)
        old = board.get_card(entry.id)
        if old is None or old.error or old.source != entry.source:
            board.put_card(describe_model(entry, cache))


def _make_runner(settings: Settings, board: Board, app: Celery, catalogue: dict[str, Entry]) -> Runner:
    store = Store(settings.store)
    scheduler = Scheduler(board, store, lambda job, unit, priority: send_unit(app, job, unit, priority), settings)
    shelf = ModelShelf(
        device=settings.device,
        dtype=settings.dtype,
        cache=Path(settings.cache),
        budget_bytes=settings.model_memory_bytes,
    )
    encoder = LazyEncoder(settings.encoder)
    return Runner(board, store, shelf, encoder, catalogue, scheduler, settings, threading.Event())


def _register_task(app: Celery, runner: Runner) -> None:
    @app.task(name=RUN_UNIT)
    def run_unit(job: str, unit: str) -> None:
        runner.run(job, unit)

    @worker_shutting_down.connect(weak=False)
    def drain(**_: object) -> None:
        runner.draining.set()


class _Ticker(threading.Thread):
    """Every few seconds: moves every active job on, deletes what has expired, and tells that this process lives."""

    def __init__(self, board: Board, scheduler: Scheduler, reaper: Reaper, draining: threading.Event) -> None:
        super().__init__(name="ticker", daemon=True)
        self._board = board
        self._scheduler = scheduler
        self._reaper = reaper
        self._draining = draining
        self._name = worker_name(os.getpid())

    def run(self) -> None:
        while True:
            try:
                self._board.announce_worker(self._name, ttl_s=4 * TICK_S)
                self._scheduler.advance_all()
                self._reaper.sweep()
            except (redis.RedisError, OperationalError, OSError) as e:
                log.warning("could not look after the jobs: %s", e)
            except Exception:
                log.exception("could not look after the jobs")
            if self._draining.wait(TICK_S):
                return
