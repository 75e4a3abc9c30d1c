"""A unit that shows no progress: the store hangs, which is waited for, or the unit does, and is
given up for another worker to take.

Progress is that the work asks whether it is to stop, or tells how many tokens it has run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import redis

from polyseme.contract.board.board import Board
from polyseme.contract.board.units import Lease
from polyseme.contract.files.probe import StoreProbe
from polyseme.workers.scheduler import Scheduler

_PAUSES = 10  # of the usual length, before a unit counts as stalled

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StallWatch:
    board: Board
    scheduler: Scheduler
    probe: StoreProbe
    stall_s: float
    on_store: Callable[[bool], None]  # told whether the store works
    on_stall: Callable[[], None]  # once a unit is given up, whose thread may hang for ever

    def look(self, lease: Lease, silent_s: float) -> bool:
        """Whether a unit that has been silent for so long is given up; then it has been."""
        try:
            if not self._is_stalled(lease, silent_s):
                return False
            log.error("%s %s: no progress for %.0f s: given up", lease.job, lease.unit, silent_s)
            why = f"no progress for {silent_s:.0f} s"
            self.board.units.note_failure(lease.job, lease.unit, why)
            self.board.units.release(lease)
        except (redis.RedisError, OSError) as e:
            log.warning("%s %s: not looked at: %s", lease.job, lease.unit, e)
            return False
        self.on_stall()
        return True

    def _is_stalled(self, lease: Lease, silent_s: float) -> bool:
        why = self.probe.ask()
        self.on_store(why is None)
        if why is not None:
            log.warning("%s %s waits for the store: %s", lease.job, lease.unit, why)
            self.scheduler.await_store(lease.job, why)
            return False
        usual_s = self.board.units.usual_pause(lease.unit.partition(":")[0])
        # Twice as long at each attempt: what is slow and not stuck comes to its end.
        patience_s = max(self.stall_s, _PAUSES * usual_s) * 2 ** (lease.attempt - 1)
        return silent_s > patience_s
