"""Holding a unit of work: a thread renews the lease, passes on progress, and notices when the work
is to stop, or stands still.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from types import TracebackType

import redis

from polyseme.contract.board.board import Board
from polyseme.contract.board.units import Lease

log = logging.getLogger(__name__)

RENEW_S = 0.5  # half of what a cancel waits for on average


class HeldLease:
    """A context manager around the work on a unit.

    `should_stop` is cheap and meant to be asked often: that is how the work shows that it goes on.
    """

    def __init__(
        self,
        board: Board,
        lease: Lease,
        *,
        lease_s: float,
        draining: threading.Event,
        look: Callable[[Lease, float], bool] = lambda lease, silent_s: False,
    ) -> None:
        """look: called every `lease_s` that nothing is heard of the work, with the seconds; whether
        the unit is given up.
        """
        self.lease = lease
        self.longest_silence_s = 0.0
        self._look = look
        self._silent_s = 0.0
        self._next_look_s = lease_s
        self._is_watched = True
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
        self._heard_at = (
            time.monotonic()
        )  # when the board last said that the unit is ours, or was asked in vain

    def __enter__(self) -> HeldLease:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def note_tokens(self, tokens: int) -> None:
        self._tokens = tokens
        self._note_life()

    def stop_watching(self) -> None:
        """The work is done; what is left to do waits for Redis alone."""
        self._note_life()
        self._is_watched = False

    def _note_life(self) -> None:
        self.longest_silence_s = max(self.longest_silence_s, self._silent_s)
        self._silent_s, self._next_look_s = 0.0, self._lease_s

    @property
    def is_lost(self) -> bool:
        """Whether the unit is no longer this worker's: another has it, or it is finished."""
        return self._lost.is_set()

    def should_stop(self) -> bool:
        self._note_life()
        # A process that was held up asks before it goes on: by now another may have its unit.
        if not self._stopped.is_set() and time.monotonic() - self._heard_at > self._lease_s:
            self._renew(None)
        return self._stopped.is_set() or self._draining.is_set()

    def _renew_until_ended(self) -> None:
        sent: int | None = None
        while not self._ended.wait(RENEW_S):
            tokens = self._tokens if self._tokens != sent else None
            if self._renew(tokens):
                sent = tokens if tokens is not None else sent
            # Counted and not read off a clock: a process that was stopped was not silent meanwhile.
            self._silent_s += RENEW_S
            if self._is_watched and self._silent_s >= self._next_look_s:
                self._next_look_s += self._lease_s
                if self._look(self.lease, self._silent_s):
                    self._lost.set()
                    self._stopped.set()
                    return

    def _renew(self, tokens: int | None) -> bool:
        """Whether the board answered.

        While it does not the work goes on: what it writes harms nobody.
        """
        try:
            status = self._board.units.renew(self.lease, lease_s=self._lease_s, tokens=tokens)
        except redis.RedisError as e:
            log.warning("lease of %s %s not renewed: %s", self.lease.job, self.lease.unit, e)
            return False
        finally:
            self._heard_at = time.monotonic()
        if status == "lost":
            self._lost.set()
        if status != "running":
            self._stopped.set()
        return True
