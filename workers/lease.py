"""Holding a unit of work: a thread renews the lease, passes on progress, and notices when the work is to stop."""

from __future__ import annotations

import logging
import threading
from contextvars import copy_context
from functools import partial
from types import TracebackType

import redis

from contract.board import Board, Lease

log = logging.getLogger(__name__)

RENEW_S = 1.0


class HeldLease:
    """A context manager around the work on a unit. `should_stop` is cheap and meant to be asked often."""

    def __init__(self, board: Board, lease: Lease, *, lease_s: float, draining: threading.Event) -> None:
        self.lease = lease
        self._board = board
        self._lease_s = lease_s
        self._draining = draining
        self._tokens: int | None = None
        self._ended = threading.Event()
        self._stopped = threading.Event()
        self._lost = threading.Event()
        # It logs for the same unit.
        target = partial(copy_context().run, self._renew_until_ended)
        self._thread = threading.Thread(target=target, name="lease", daemon=True)

    def __enter__(self) -> HeldLease:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def note_tokens(self, tokens: int) -> None:
        self._tokens = tokens

    @property
    def is_lost(self) -> bool:
        """Whether the unit is no longer this worker's: another has it, or it is finished."""
        return self._lost.is_set()

    def should_stop(self) -> bool:
        return self._stopped.is_set() or self._draining.is_set()

    def _renew_until_ended(self) -> None:
        sent: int | None = None
        while not self._ended.wait(RENEW_S):
            tokens = self._tokens if self._tokens != sent else None
            try:
                status = self._board.renew(self.lease, lease_s=self._lease_s, tokens=tokens)
            except redis.RedisError as e:
                log.warning("lease of %s %s not renewed: %s", self.lease.job, self.lease.unit, e)
                continue
            sent = self._tokens if tokens is not None else sent
            if status == "lost":
                self._lost.set()
            if status != "running":
                self._stopped.set()
