"""Whether a webhook's URL is taken when a job is submitted, as far as can be known then.

Whoever sends checks again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as LookupTimeout
from typing import Final

from polyseme.contract.errors import InvalidRequest
from polyseme.service.outbound.addresses import (
    AddressRefused,
    Allowed,
    Resolve,
    Target,
    check_target,
    parse_url,
    resolve_host,
)

_LOOKUP_S: Final = 2.0
# At once, a process: a name server that never answers holds no more threads than these.
_LOOKUPS: Final = 2
_POINTER: Final = "/webhook/url"


class WebhookUrlCheck:
    def __init__(self, allowed: Allowed, resolve: Resolve = resolve_host) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._lookups = ThreadPoolExecutor(_LOOKUPS, "lookup")

    def check(self, url: str | None) -> None:
        """Raises InvalidRequest.

        A name that has no address yet passes, and so does one whose look-up takes long.
        """
        if url is None:
            return
        try:
            target = parse_url(url)
            check_target(target, self._allowed, self._look_up)
        except AddressRefused as e:
            raise InvalidRequest(f"webhook: {e}", pointer=_POINTER) from e
        except (OSError, LookupTimeout):
            self._refuse_unknown(target)

    def for_many(self, budget_s: float) -> WebhookUrlCheck:
        """The same for many URLs at once: each host is looked up once, and for `budget_s` in
        all.
        """
        return _CheckOfMany(self, budget_s)

    def _look_up(self, host: str, port: int) -> Sequence[str]:
        return self._lookups.submit(self._resolve, host, port).result(_LOOKUP_S)

    def _refuse_unknown(self, target: Target) -> None:
        if target.scheme == "http" and target.host not in self._allowed.names:
            raise InvalidRequest(f"webhook: http to {target.host}: use https", pointer=_POINTER)


class _CheckOfMany(WebhookUrlCheck):
    """Asks once for a host, and for none once its time is over: such names pass, as those that take
    long do.
    """

    def __init__(self, single: WebhookUrlCheck, budget_s: float) -> None:
        self._allowed = single._allowed
        self._single = single
        self._deadline = time.monotonic() + budget_s
        # Failures too: a host that cannot be found is not asked for again.
        self._answers: dict[tuple[str, int], Sequence[str] | Exception] = {}

    def _look_up(self, host: str, port: int) -> Sequence[str]:
        if (host, port) not in self._answers:
            self._answers[host, port] = self._ask(host, port)
        answer = self._answers[host, port]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _ask(self, host: str, port: int) -> Sequence[str] | Exception:
        if time.monotonic() > self._deadline:
            return LookupTimeout()
        try:
            return self._single._look_up(host, port)
        except (OSError, LookupTimeout) as e:
            return e
