"""Requests a minute of each tenant, over all API processes.

A process takes a hundredth of a minute's from Redis at a time: a write at each request would be a sync of Redis' file
at each. So a tenant never gets more than its limit, and may get a hundredth less for each process beside the first.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from contract.accounts import Accounts

_PARTS = 100


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
        self._allowances: dict[str, _Allowance] = {}

    def take(self, tenant: str, limit: int) -> Rate:
        """Takes one request in, if it may be."""
        with self._lock:
            now = self._clock()
            held = self._allowances.get(tenant)
            is_current = held is not None and held.limit == limit and now < held.ends_at
            if held is None or not is_current or (held.here == 0 and held.elsewhere > 0):
                held = self._allowances[tenant] = self._ask(tenant, limit, now)
            granted = held.here > 0
            held.here -= granted
            return Rate(granted, limit, held.here + held.elsewhere, max(math.ceil(held.ends_at - now), 1))

    def _ask(self, tenant: str, limit: int, now: float) -> _Allowance:
        found = self._accounts.grant_requests(tenant, max(limit // _PARTS, 1), limit)
        return _Allowance(limit, found.granted, found.left, now + found.seconds)
