"""What a webhook says and whom it may tell: the event, its signatures, and the check of a URL at submit."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as LookupTimeout
from typing import Any, Final

from contract.addresses import AddressRefused, Allowed, Resolve, Target, check_target, parse_url, resolve_host
from contract.errors import InvalidRequest
from contract.records import Job
from service.answers import dump_json, timestamp

EVENTS: Final = ("job.succeeded", "job.failed", "job.cancelled")
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

    def _look_up(self, host: str, port: int) -> Sequence[str]:
        return self._lookups.submit(self._resolve, host, port).result(_LOOKUP_S)

    def _refuse_unknown(self, target: Target) -> None:
        if target.scheme == "http" and target.host not in self._allowed.names:
            raise InvalidRequest(f"webhook: http to {target.host}: use https", pointer=_POINTER)


def event_of(job: Job, shown: Mapping[str, Any]) -> tuple[str, bytes]:
    """The event's id and body; the same whenever they are asked for, since an ended job changes no more.

    shown: the job as GET gives it. How the delivery stands is left out, and the revision, which grows with it.
    """
    data = {name: value for name, value in shown.items() if name not in ("webhook", "revision")}
    body = {"type": f"job.{job.status}", "timestamp": timestamp(job.finished_at), "data": data}
    return f"evt_{job.id}", dump_json(body)


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
