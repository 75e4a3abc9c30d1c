"""A worker process: a Celery consumer with one task, beside a thread that keeps jobs moving and says it is alive."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path

import redis
from celery import Celery
from celery.signals import worker_shutting_down
from kombu.exceptions import OperationalError

from contract.board import Board, worker_name
from contract.catalogue import Entry, load_catalogue
from contract.connection import check_durability
from contract.queue import RUN_UNIT, TICKET_VERSION, connect_queue, queue_keys, send_unit
from contract.settings import Settings
from contract.store import Store
from workers.analysis.encoder import LazyEncoder
from workers.analysis.model import ModelShelf, describe_model
from workers.analysis.threads import set_threads
from workers.device import EXIT_CODE, DeviceLost
from workers.scheduler import Scheduler
from workers.units import Runner

log = logging.getLogger(__name__)

TICK_S = 3.0
_TIDY_TICKS = 20


def run_worker(settings: Settings) -> None:
    """Describes the catalogue's models on the board, then takes units until told to end."""
    set_threads(settings.threads)
    check_durability(settings.redis_url, allow_volatile=settings.allow_volatile_redis)
    board = Board.connect(settings.redis_url)
    app = connect_queue(settings.redis_url)
    catalogue = load_catalogue(settings.catalogue)
    runner = _make_runner(settings, board, app, catalogue)
    publish_cards(board, catalogue, Path(settings.cache))
    _register_task(app, runner)
    _Ticker(board, runner.scheduler, runner.draining, lambda: _is_queue_empty(board)).start()
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
    def run_unit(job: str, unit: str, version: int = 1, *_: object) -> None:
        if version > TICKET_VERSION:
            # The unit is found waiting, and sent again by a worker in its own version.
            log.warning("%s %s: a ticket of version %d; this worker knows %d", job, unit, version, TICKET_VERSION)
            return
        try:
            runner.run(job, unit)
        except DeviceLost:
            logging.shutdown()
            # Whatever would be tidied up on the way out may hang on the device.
            os._exit(EXIT_CODE)

    @worker_shutting_down.connect(weak=False)
    def drain(**_: object) -> None:
        runner.draining.set()


def _is_queue_empty(board: Board) -> bool:
    return not any(board.list_lengths(queue_keys()).values())


class _Ticker(threading.Thread):
    """Every few seconds: moves every active job on, and tells the board that this process lives."""

    def __init__(
        self, board: Board, scheduler: Scheduler, draining: threading.Event, is_queue_empty: Callable[[], bool]
    ) -> None:
        super().__init__(name="ticker", daemon=True)
        self._board = board
        self._scheduler = scheduler
        self._draining = draining
        self._is_queue_empty = is_queue_empty
        self._name = worker_name(os.getpid())

    def run(self) -> None:
        for tick in count():
            try:
                self._board.announce_worker(self._name, ttl_s=4 * TICK_S)
                if self._is_queue_empty():
                    self._scheduler.recall_all()
                self._scheduler.advance_all()
                if tick % _TIDY_TICKS == 0:
                    self._scheduler.tidy_all()
            except (redis.RedisError, OperationalError, OSError) as e:
                log.warning("could not look after the jobs: %s", e)
            except Exception:
                log.exception("could not look after the jobs")
            if self._draining.wait(TICK_S):
                return
