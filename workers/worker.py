"""A worker process: a Celery consumer with one task, beside a thread that keeps jobs moving and
says it is alive.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import redis
from celery import Celery
from celery.signals import worker_shutting_down
from kombu.exceptions import OperationalError

from polyseme.contract.board.board import Board
from polyseme.contract.board.connection import call_patiently, check_durability
from polyseme.contract.board.workers import worker_name
from polyseme.contract.names import DEFAULT_QUEUE
from polyseme.contract.own_store import open_store
from polyseme.contract.records.catalogue import (
    DictionaryEntry,
    Entry,
    load_catalogue,
    load_dictionaries,
    shown_source,
)
from polyseme.contract.records.model_card import ModelCard
from polyseme.contract.settings import Settings
from polyseme.contract.tickets import (
    TAKE_UNIT,
    TICKET_VERSION,
    connect_queue,
    send_ticket,
    taken_queues,
)
from polyseme.contract.traces import Tracer
from polyseme.workers.analysis.dictionaries.formats import describe_dictionary
from polyseme.workers.analysis.machine.threads import set_threads
from polyseme.workers.analysis.models.encoder import LazyEncoder
from polyseme.workers.analysis.models.load import describe_model
from polyseme.workers.analysis.models.shelf import ModelShelf
from polyseme.workers.analysis.sites.table import SITES
from polyseme.workers.device import EXIT_CODE, DeviceLost
from polyseme.workers.dictionary_shelf import DictionaryShelf
from polyseme.workers.metrics import WorkerMetrics
from polyseme.workers.retention import Reaper
from polyseme.workers.scheduler import Scheduler
from polyseme.workers.units import Runner

log = logging.getLogger(__name__)

TICK_S = 3.0
ROUND_S = 15.0  # a round that takes longer is thought to be a dead worker's
_TIDY_ROUNDS = 20  # from one look at what ended jobs left to the next


def run_worker(settings: Settings, tracer: Tracer) -> None:
    """Describes the models and dictionaries of the catalogue on the board, then takes units until
    told to end.
    """
    set_threads(settings.threads)
    check = partial(
        check_durability, settings.redis_url, allow_volatile=settings.allow_volatile_redis
    )
    call_patiently(check, _sleep, pause_s=1.0)
    app = connect_queue(settings.redis_url)
    runner = make_runner(settings, app, tracer)
    board, catalogue = runner.board, runner.catalogue
    if settings.metrics_port:
        runner.metrics.serve(settings.metrics_host, settings.metrics_port)
    served = {e.id: e for e in catalogue.values() if e.queue in settings.queue_names}
    call_patiently(partial(publish_cards, board, served, Path(settings.cache)), _sleep, pause_s=1.0)
    withdraw = partial(withdraw_cards, board, catalogue, settings.queue_names)
    call_patiently(withdraw, _sleep, pause_s=1.0)
    dictionaries = runner.dictionaries.catalogue
    describe = partial(publish_dictionaries, board, dictionaries, served)
    call_patiently(describe, _sleep, pause_s=1.0)
    withdraw = partial(withdraw_dictionaries, board, dictionaries, settings.queue_names)
    call_patiently(withdraw, _sleep, pause_s=1.0)
    _register_task(app, runner)
    reaper = Reaper(board, runner.store)
    name, queues = worker_name(os.getpid()), settings.queue_names
    has_encoder = runner.encoder.is_there
    Ticker(board, runner.draining, name=name, queues=queues, has_encoder=has_encoder).start()
    Caretaker(board, runner.scheduler, reaper, runner.draining, name=name).start()
    app.conf.task_queues = taken_queues(queues)
    # What is imported stays, so the full collection that ends a shard need not walk through it.
    gc.freeze()
    app.Worker(
        hostname=f"polyseme@{socket.gethostname()}-{os.getpid()}",
        loglevel="INFO",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    ).start()


def _sleep(seconds: float) -> bool:
    """Never says to give up: a worker outlives any absence of Redis."""
    time.sleep(seconds)
    return False


def publish_cards(board: Board, catalogue: dict[str, Entry], cache: Path) -> None:
    """Puts a card for every one of the models on the board.

    Speeds that an earlier worker measured are kept.
    """
    for entry in catalogue.values():
        log.info("describing %s (%s)", entry.id, shown_source(entry.source))
        log.debug("its files: %s", entry.location)
        old = board.registry.get_card(entry.id)
        if old is None or old.error or old.source != entry.source:
            board.registry.put_card(replace(describe_model(entry, cache), queue=entry.queue))
        elif [site.site for site in old.sites] != list(SITES):
            board.registry.put_card(_with_speeds(describe_model(entry, cache), old, entry.queue))
        elif old.queue != entry.queue:
            board.registry.put_card(replace(old, queue=entry.queue))


def _with_speeds(card: ModelCard, old: ModelCard, queue: str) -> ModelCard:
    """A card of a model that an older worker described, which knew fewer sites."""
    return replace(
        card,
        queue=queue,
        tokens_per_second=old.tokens_per_second,
        neurons_per_second=old.neurons_per_second,
        characters_per_token=old.characters_per_token,
    )


def withdraw_cards(board: Board, catalogue: Mapping[str, Entry], queues: Sequence[str]) -> None:
    """Takes models off the board that the workers of these queues have no more."""
    for card in board.registry.list_cards():
        if card.queue in queues and card.id not in catalogue:
            log.info("%s is no more in the catalogue", card.id)
            board.registry.delete_card(card.id)


def publish_dictionaries(
    board: Board, dictionaries: Mapping[str, DictionaryEntry], models: Mapping[str, Entry]
) -> None:
    """Puts a card for every dictionary of one of the models on the board.

    One whose entry has not changed is not read again, unless it could not be read.
    """
    for entry in dictionaries.values():
        if entry.model not in models:
            continue
        queue = models[entry.model].queue
        old = board.registry.get_dictionary(entry.id)
        if old is None or old.error or old.fingerprint != entry.fingerprint:
            log.info("reading the dictionary %s (%s)", entry.id, shown_source(entry.source))
            log.debug("its files: %s", entry.location)
            board.registry.put_dictionary(replace(describe_dictionary(entry), queue=queue))
        elif old.queue != queue:
            board.registry.put_dictionary(replace(old, queue=queue))


def withdraw_dictionaries(
    board: Board, dictionaries: Mapping[str, DictionaryEntry], queues: Sequence[str]
) -> None:
    """Takes dictionaries off the board that the workers of these queues have no more."""
    for card in board.registry.list_dictionaries():
        if card.queue in queues and card.id not in dictionaries:
            log.info("the dictionary %s is no more in the catalogue", card.id)
            board.registry.delete_dictionary(card.id)


def make_runner(settings: Settings, app: Celery, tracer: Tracer) -> Runner:
    board, catalogue = Board.connect(settings.redis_url), load_catalogue(settings.catalogue)
    metrics = WorkerMetrics()
    store = open_store(settings.store, board.registry)
    scheduler = Scheduler(board, store, lambda queue: send_ticket(app, queue), settings)
    shelf = ModelShelf(
        device=settings.device,
        dtype=settings.dtype,
        compiled=settings.compile,
        cache=Path(settings.cache),
        budget_bytes=settings.model_memory_bytes,
        on_load=metrics.note_load,
    )
    metrics.watch(shelf.sizes, lambda: store.written_bytes)
    encoder = LazyEncoder(settings.encoder)
    return Runner(
        board,
        store,
        shelf,
        encoder,
        catalogue,
        scheduler,
        settings,
        threading.Event(),
        metrics,
        tracer,
        DictionaryShelf(load_dictionaries(settings.catalogue)),
        on_stall=_end_process,
    )


def _end_process() -> None:
    """For a supervisor to start another. Whatever would be tidied up on the way out may hang."""
    logging.shutdown()
    os._exit(EXIT_CODE)


def _register_task(app: Celery, runner: Runner) -> None:
    @app.task(name=TAKE_UNIT)
    def take_unit(queue: str, version: int = 1, *_: object) -> None:
        if version > TICKET_VERSION:
            # Another ticket is sent for what waits, by a worker in its own version.
            log.warning("a ticket of version %d; this worker knows %d", version, TICKET_VERSION)
            return
        try:
            runner.run_next(queue)
        except DeviceLost:
            _end_process()

    @worker_shutting_down.connect(weak=False)
    def drain(**_: object) -> None:
        runner.draining.set()


class Ticker(threading.Thread):
    """Every few seconds: tells the board that this process lives. It touches no store, which may
    hang.
    """

    def __init__(
        self,
        board: Board,
        draining: threading.Event,
        *,
        name: str,
        queues: Sequence[str] = (DEFAULT_QUEUE,),
        has_encoder: bool = False,
    ) -> None:
        super().__init__(name="ticker", daemon=True)
        self._board = board
        self._draining = draining
        self._queues = queues
        self._has_encoder = has_encoder
        self._name = name

    def run(self) -> None:
        while True:
            try:
                self._board.workers.announce(
                    self._name,
                    ttl_s=4 * TICK_S,
                    queues=self._queues,
                    has_encoder=self._has_encoder,
                )
            except redis.RedisError as e:
                log.warning("could not say that this worker lives: %s", e)
            if self._draining.wait(TICK_S):
                return


class Caretaker(threading.Thread):
    """Every few seconds: looks after all jobs if nobody else does."""

    def __init__(
        self,
        board: Board,
        scheduler: Scheduler,
        reaper: Reaper,
        draining: threading.Event,
        *,
        name: str,
    ) -> None:
        super().__init__(name="caretaker", daemon=True)
        self._board = board
        self._scheduler = scheduler
        self._reaper = reaper
        self._draining = draining
        self._name = name

    def run(self) -> None:
        rounds = 0  # of this worker
        while True:
            try:
                if look_after_jobs(self._board, self._scheduler, self._name):
                    self._reaper.sweep()
                    if rounds % _TIDY_ROUNDS == 0:
                        self._scheduler.tidy_all()
                    rounds += 1
            except (redis.RedisError, OperationalError, OSError) as e:
                log.warning("could not look after the jobs: %s", e)
            except Exception:
                log.exception("could not look after the jobs")
            if self._draining.wait(TICK_S):
                return


def look_after_jobs(board: Board, scheduler: Scheduler, worker: str) -> bool:
    """Moves every active job on, unless a worker does so now or did within TICK_S.

    Whether it did.
    """
    began = time.monotonic()
    if not board.workers.acquire_leadership(worker, most_s=ROUND_S):
        return False
    try:
        scheduler.advance_all()
    finally:
        # A little early, or a worker alone would find its own leadership not yet over.
        board.workers.release_leadership(worker, pause_s=0.9 * TICK_S - (time.monotonic() - began))
    return True
