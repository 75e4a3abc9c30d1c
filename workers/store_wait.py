"""What a worker does while the store is away: it holds its unit, tries the store now and then, and
says on the board that the job waits.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from polyseme.contract.board.board import Board
from polyseme.contract.board.connection import call_patiently
from polyseme.contract.board.units import Lease
from polyseme.contract.errors import DamagedFile
from polyseme.contract.files.identity import StoreAway
from polyseme.contract.files.probe import StoreProbe, describe_trouble
from polyseme.contract.files.store import Store
from polyseme.workers.scheduler import Scheduler

_PAUSES_S = (0.5, 1.0, 2.0, 5.0)  # between two looks at the store; the last one repeats
_LOOKS_AGAIN_S = 1.0  # a store that comes and goes is not taken to be well at the first look
_RENEW_S = 0.5  # so a cancel is noticed as soon as while a unit runs
_FULL = (errno.ENOSPC, errno.EDQUOT)

Found = TypeVar("Found")

log = logging.getLogger(__name__)


def make_probe(store: Store, lease_s: float) -> StoreProbe:
    """It gives up well before a lease ends, so that a unit can be held meanwhile."""
    return StoreProbe(store, wait_s=min(5.0, lease_s / 3))


def may_be_the_stores(error: BaseException) -> bool:
    """Whether an error of a unit may come from the store: then it is to be tried out."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError | DamagedFile):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in _FULL


@dataclass(frozen=True)
class StoreWait:
    board: Board
    scheduler: Scheduler
    probe: StoreProbe
    draining: threading.Event
    lease_s: float

    def find_trouble(self, error: BaseException) -> str | None:
        """Why the store is away, for an error that may come of that; None when it is not."""
        if isinstance(error, StoreAway) or is_full(error):
            # A file that is too large for what is left says more than one that fits.
            return describe_trouble(error)
        if not may_be_the_stores(error):
            return None
        if (why := self.probe.ask()) is not None or self.draining.wait(_LOOKS_AGAIN_S):
            return why
        return self.probe.ask()

    def hold(self, lease: Lease, why: str, *, is_full: bool) -> None:
        """Keeps a unit until the store is back, its job is cancelled, another worker has it or this
        process is to end; or fails the job, when its patience is over. Then the unit is to be given
        back: the attempt is forgiven already, should the worker die meanwhile.
        """
        self._insist(lambda: self.board.units.forgive(lease))
        log.warning("the store is away (%s): the unit waits for it", why)
        # Of a full store a probe, which is small, does not tell whether the unit's files fit now.
        pauses = iter(_PAUSES_S[-1:] if is_full else _PAUSES_S)
        trouble: str | None = why
        while trouble is not None:
            if self._fails_the_job(lease, trouble) or not self._keep(
                lease, next(pauses, _PAUSES_S[-1])
            ):
                return
            trouble = self.probe.ask()
        log.info("the store is back")

    def _fails_the_job(self, lease: Lease, why: str) -> bool:
        with suppress(OSError):  # what the job leaves in the store is removed once that is back
            return self._insist(lambda: self.scheduler.await_store(lease.job, why))
        return True

    def _keep(self, lease: Lease, seconds: float) -> bool:
        """Renews the lease for so long. False when it is no longer to be held."""
        for _ in range(round(seconds / _RENEW_S)):
            if self.draining.wait(_RENEW_S):
                return False
            if not self._renew(lease):
                return False
        return True

    def _renew(self, lease: Lease) -> bool:
        renew = self.board.units.renew
        return self._insist(lambda: renew(lease, lease_s=self.lease_s)) == "running"

    def _insist(self, call: Callable[[], Found]) -> Found:
        return call_patiently(call, self.draining.wait)
