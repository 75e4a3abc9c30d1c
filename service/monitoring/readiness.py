"""Whether this service can take work in, asked once a second however many want to know.

Strangers may ask, as often as they like: what they are told costs neither Redis nor the store more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import redis

from polyseme.contract.board.board import Board
from polyseme.contract.errors import Unavailable
from polyseme.contract.files.probe import StoreProbe

KEEP_S = 1.0
_LOOKUPS = 20  # keys that are looked up in a second, for who may be told more


@dataclass(frozen=True)
class State:
    why: str | None  # it is not ready; None when it is
    workers: int = 0  # heard of lately
    queues: dict[str, int] | None = None  # how many of them serve each
    has_keys: bool = True


class Readiness:
    """Thread-safe."""

    def __init__(
        self, board: Board, probe: StoreProbe, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._board = board
        self._probe = probe
        self._clock = clock
        self._lock = threading.Lock()
        self._state: State | None = None
        self._until = 0.0  # when it is to be asked again
        self._second = 0  # in which keys were looked up
        self._lookups = 0

    def ask(self) -> State:
        """What it was at most a second ago. Raises Unavailable when it is not ready."""
        with self._lock:
            if self._state is None or self._clock() >= self._until:
                self._state = self._find_out()
                self._until = self._clock() + KEEP_S
            state = self._state
        if state.why is not None:
            raise Unavailable(state.why)
        return state

    def may_look_up(self) -> bool:
        """Whether one more key may be looked up in this second."""
        with self._lock:
            second = int(self._clock())
            if second != self._second:
                self._second, self._lookups = second, 0
            self._lookups += 1
            return self._lookups <= _LOOKUPS

    def _find_out(self) -> State:
        try:
            self._board.ping()
            workers, queues = self._board.workers.count(), self._board.workers.count_by_queue()
            has_keys = self._board.accounts.has_keys()
        except redis.RedisError as e:
            return State(f"the job board does not answer: {type(e).__name__}")
        if why := self._probe.ask():
            return State(f"the store is away: {why}")
        return State(None, workers, dict(queues), has_keys)
