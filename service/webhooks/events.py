"""What a webhook says: the event of what ended, and its signatures. Knows nobody's address."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

from polyseme.contract.board.batches import Batch
from polyseme.contract.records.job import Job
from polyseme.service.json_text import dump_json, timestamp
from polyseme.service.schemas.batches import BATCH_EVENT


def event_of(job: Job, shown: Mapping[str, Any]) -> tuple[str, bytes]:
    """The event's id and body; the same whenever they are asked for, since an ended job changes no
    more.

    shown: the job as GET gives it. How the delivery stands is left out, and the revision, which
    grows with it.
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
    """The headers of the Standard Webhooks specification, with a signature by each of the secrets
    (`whsec_…`).
    """
    content = f"{event}.{seconds}.".encode() + body
    signatures = (hmac.digest(_key(secret), content, hashlib.sha256) for secret in secrets)
    return {
        "webhook-id": event,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(s).decode()}" for s in signatures),
    }


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix("whsec_"))
