"""Webhooks on the board: which events are due, whose turn it is to send one, and how it went.

Sends nothing.

An event is recorded in the very script that ends a job (`jobs.end`), so a job cannot
end without it; that of a batch in the one that ends its last job. It has an entry in the sorted set
`webhooks`: job or batch -> when it is due, by Redis' clock. Who takes one moves that time on, and
so an event whose sender died is due again. How its delivery stands lies in the job's own record,
and goes with it.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import redis

from polyseme.contract.board.connection import connect_redis
from polyseme.contract.board.keys import Keys
from polyseme.contract.board.scripts import Script
from polyseme.contract.records.job import Delivery, DeliveryState, is_batch

OVERLAP_S = 24 * 3600  # after a rotation, both secrets sign
_SECRET_BYTES = 32


@dataclass(frozen=True)
class Taken:
    """An event in the hands of one sender."""

    job: str  # or batch
    token: str


class Outbox:
    """The events of all jobs.

    Thread-safe, as the redis client is; `redis.RedisError` passes through.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        self._keys = Keys()
        self._take = Script(client, "outbox/take")
        self._settle = Script(client, "outbox/settle")
        self._rotate_secret = Script(client, "outbox/rotate_secret")
        self._list_secrets = Script(client, "outbox/list_secrets")

    @classmethod
    def connect(cls, url: str) -> Outbox:
        return cls(connect_redis(url))

    def take(self, *, lease_s: float) -> Taken | None:
        """An event that is due, now this caller's until `settle`, or until the lease is over.

        Counts the attempt.
        """
        token = secrets.token_hex(8)
        found = self._take(
            webhooks=self._keys.webhooks(), prefix=self._keys.prefix, token=token, lease_s=lease_s
        )
        job = cast(str | None, found)
        return Taken(job, token) if job else None

    def settle(
        self,
        taken: Taken,
        state: DeliveryState,
        *,
        status: int | None = None,
        error: str = "",
        delay_s: float | None = None,
    ) -> bool:
        """Notes how it went.

        False when the lease went to another sender. delay_s: to the next attempt, if any.
        """
        job = taken.job
        settled = self._settle(
            record=self._keys.batch(job) if is_batch(job) else self._keys.job(job),
            webhooks=self._keys.webhooks(),
            id=job,
            token=taken.token,
            state=state,
            status=status or "",
            error=error[:500],
            delay_s="" if delay_s is None else delay_s,
        )
        return bool(settled)

    def count(self) -> int:
        """Events that are neither delivered nor given up."""
        return int(self._redis.zcard(self._keys.webhooks()))

    def list_secrets(self, tenant: str) -> list[str]:
        """What signs a tenant's events, the newest first; two for a day after a rotation.

        Made on first use.
        """
        signing = self._keys.signing(tenant)
        self._redis.hsetnx(signing, "secret", new_secret())
        return cast(list[str], self._list_secrets(signing=signing))

    def rotate_secret(self, tenant: str) -> str:
        """The new secret. The one before it signs too, for a day."""
        secret = new_secret()
        signing = self._keys.signing(tenant)
        self._rotate_secret(signing=signing, secret=secret, overlap_s=OVERLAP_S)
        return secret


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def read_delivery(url: str | None, record: Mapping[str, str]) -> Delivery | None:
    """From the fields of a job's or a batch's record; None without a webhook."""
    if url is None:
        return None
    pending = record.get("hook_state") == "pending"
    return Delivery(
        url=url,
        state=cast(DeliveryState, record.get("hook_state", "waiting")),
        attempts=int(record.get("hook_attempts", 0)),
        last_status=int(record["hook_status"]) if "hook_status" in record else None,
        last_error=record.get("hook_error"),
        next_attempt_at=float(record["hook_next_at"])
        if pending and "hook_next_at" in record
        else None,
    )
