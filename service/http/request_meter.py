"""Requests a minute of each tenant, over all API processes.

A process takes a hundredth of a minute's from Redis at a time: a write at each request would be a
sync of Redis' file at each. So a tenant never gets more than its limit, and may get a hundredth
less for each process beside the first.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cachetools import TLRUCache

from polyseme.contract.board.accounts import Accounts

_PARTS = 100
_TENANTS = 10_000  # of whom what is granted is known; another's is asked for anew


@dataclass(frozen=True)
class Rate:
    granted: bool
    limit: int
    left: int  # in this minute, as far as this process knows
    seconds: int  # to its end, rounded up


@dataclass
class _Allowance:
    limit: int
    here: int  # granted to this process and not used
    elsewhere: int  # not granted to any, when it was asked last
    ends_at: float  # by the clock


class RequestMeter:
    def __init__(self, accounts: Accounts, clock: Callable[[], float] = time.monotonic) -> None:
        self._accounts = accounts
        self._clock = clock
        self._lock = threading.Lock()
        self._allowances: Any = TLRUCache(_TENANTS, lambda _, held, now: held.ends_at, clock)

    def take(self, tenant: str, limit: int) -> Rate:
        """Takes one request in, if it may be."""
        with self._lock:
            now = self._clock()
            held: _Allowance | None = self._allowances.get(tenant)  # until its minute is over
            is_used_up = held is not None and held.here == 0 and held.elsewhere > 0
            if held is None or held.limit != limit or is_used_up:
                held = self._allowances[tenant] = self._ask(tenant, limit, now)
            granted = held.here > 0
            held.here -= granted
            return Rate(
                granted, limit, held.here + held.elsewhere, max(math.ceil(held.ends_at - now), 1)
            )

    def _ask(self, tenant: str, limit: int, now: float) -> _Allowance:
        grant = self._accounts.grant_requests(tenant, max(limit // _PARTS, 1), limit)
        return _Allowance(limit, grant.granted, grant.left, now + grant.seconds)
