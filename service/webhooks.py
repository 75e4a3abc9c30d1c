"""What a webhook says and whom it may tell: the event, its signatures, and the check of a URL at submit."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as LookupTimeout
from typing import Any, Final

from contract.addresses import AddressRefused, Allowed, Resolve, Target, check_target, parse_url, resolve_host
from contract.batches import Batch
from contract.errors import InvalidRequest
from contract.records import Job
from service.answers import dump_json, timestamp

EVENTS: Final = ("job.succeeded", "job.failed", "job.cancelled")
BATCH_EVENT: Final = "batch.ended"
_LOOKUP_S: Final = 2.0
_LOOKUPS: Final = 2  # at once, a process: a name server that never answers holds no more threads than these
_POINTER: Final = "/webhook/url"


class Gate:
    """Refuses URLs when a job is submitted, as far as can be known then. Whoever sends checks again."""

    def __init__(self, allowed: Allowed, resolve: Resolve = resolve_host) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._lookups = ThreadPoolExecutor(_LOOKUPS, "lookup")

    def check(self, url: str | None) -> None:
        """Raises InvalidRequest. A name that has no address yet passes, and so does one whose look-up takes long."""
        if url is None:
            return
        try:
            target = parse_url(url)
            check_target(target, self._allowed, self._look_up)
        except AddressRefused as e:
            raise InvalidRequest(f"webhook: {e}", pointer=_POINTER) from e
        except (OSError, LookupTimeout):
            self._refuse_unknown(target)

    def for_many(self, budget_s: float) -> Gate:
        """The same for many URLs at once: each host is looked up once, and for `budget_s` in all."""
        return _GateForMany(self, budget_s)

    def _look_up(self, host: str, port: int) -> Sequence[str]:
        return self._lookups.submit(self._resolve, host, port).result(_LOOKUP_S)

    def _refuse_unknown(self, target: Target) -> None:
        if target.scheme == "http" and target.host not in self._allowed.names:
            raise InvalidRequest(f"webhook: http to {target.host}: use https", pointer=_POINTER)


class _GateForMany(Gate):
    """Asks once for a host, and for none once its time is over: such names pass, as those that take long do."""

    def __init__(self, gate: Gate, budget_s: float) -> None:
        self._allowed = gate._allowed
        self._gate = gate
        self._deadline = time.monotonic() + budget_s
        self._known: dict[tuple[str, int], Sequence[str] | Exception] = {}

    def _look_up(self, host: str, port: int) -> Sequence[str]:
        if (host, port) not in self._known:
            self._known[host, port] = self._ask(host, port)
        found = self._known[host, port]
        if isinstance(found, Exception):
            raise found
        return found

    def _ask(self, host: str, port: int) -> Sequence[str] | Exception:
        if time.monotonic() > self._deadline:
            return LookupTimeout()
        try:
            return self._gate._look_up(host, port)
        except (OSError, LookupTimeout) as e:
            return e


def event_of(job: Job, shown: Mapping[str, Any]) -> tuple[str, bytes]:
    """The event's id and body; the same whenever they are asked for, since an ended job changes no more.

    shown: the job as GET gives it. How the delivery stands is left out, and the revision, which grows with it.
    """
    data = {name: value for name, value in shown.items() if name not in ("webhook", "revision")}
    body = {"type": f"job.{job.status}", "timestamp": timestamp(job.finished_at), "data": data}
    return f"evt_{job.id}", dump_json(body)


def batch_event_of(batch: Batch, shown: Mapping[str, Any]) -> tuple[str, bytes]:
    """Likewise, of a batch that has ended. shown: the batch as GET gives it."""
    data = {name: value for name, value in shown.items() if name not in ("webhook", "revision")}
    body = {"type": BATCH_EVENT, "timestamp": timestamp(batch.finished_at), "data": data}
    return f"evt_{batch.id}", dump_json(body)


def sign(secrets: Sequence[str], event: str, seconds: int, body: bytes) -> dict[str, str]:
    """The headers of the Standard Webhooks specification, with a signature by each of the secrets (`whsec_…`)."""
    content = f"{event}.{seconds}.".encode() + body
    signatures = (hmac.digest(_key(secret), content, hashlib.sha256) for secret in secrets)
    return {
        "webhook-id": event,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(s).decode()}" for s in signatures),
    }


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix("whsec_"))
