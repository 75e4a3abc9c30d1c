"""Webhooks on the board: which events are due, whose turn it is to send one, and how it went. Sends nothing.

An event is recorded in the very script that ends a job (`contract/board.py`), so a job cannot end without it; that of
a batch in the one that ends its last job. It has an entry in the sorted set `webhooks`: job or batch -> when it is due,
by Redis' clock. Who takes one moves that time on, and so an
event whose sender died is due again. How its delivery stands lies in the job's own record, and goes with it.

Keys, under the prefix:
  webhooks        zset: id of a job or a batch -> seconds since the epoch
  job:<id>, batch:<id>  hash fields hook_state, hook_attempts, hook_status, hook_error, hook_next_at, hook_token
  signing:<id>    hash of a tenant's: secret, before (the one that was rotated out), before_until
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import redis

from contract.connection import NOW, connect_redis
from contract.records import Delivery, DeliveryState, is_batch

DUE = "webhooks"
OVERLAP_S = 24 * 3600  # after a rotation, both secrets sign
_SECRET_BYTES = 32


# Part of the script that ends a job. It has defined `now`; KEYS[1] is the job's record, ARGV[1] its id.
# record_event(prefix, record, id): the event of what has just ended, if it was asked for.
RECORD_EVENT = """
local function record_event(prefix, record, id)
  local asked = cjson.decode(redis.call('HGET', record, 'request') or '{}').webhook
  if asked and asked ~= cjson.null then
    local at = string.format('%.6f', now)
    redis.call('HSET', record, 'hook_state', 'pending', 'hook_next_at', at)
    redis.call('ZADD', prefix .. 'webhooks', at, id)
  end
end
record_event(string.sub(KEYS[1], 1, #KEYS[1] - #'job:' - #ARGV[1]), KEYS[1], ARGV[1])
"""

# KEYS: due; ARGV: prefix, token, lease.  Returns the id of the job or batch taken, or nothing.
_TAKE = (
    NOW
    + """
for _, job in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100)) do
  local record = ARGV[1] .. (string.sub(job, 1, 4) == 'bat_' and 'batch:' or 'job:') .. job
  if redis.call('HGET', record, 'hook_state') == 'pending' then
    local lease = string.format('%.6f', now + tonumber(ARGV[3]))
    redis.call('ZADD', KEYS[1], lease, job)
    redis.call('HSET', record, 'hook_token', ARGV[2], 'hook_next_at', lease)
    redis.call('HINCRBY', record, 'hook_attempts', 1)
    return job
  end
  redis.call('ZREM', KEYS[1], job)
end
return nil
"""
)

# KEYS: job or batch, due; ARGV: id, token, state, status ('' for none), error ('' for none), delay ('' for no other
# attempt)
_SETTLE = (
    NOW
    + """
if redis.call('HGET', KEYS[1], 'hook_token') ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], 'hook_token', 'hook_status', 'hook_error', 'hook_next_at')
redis.call('HSET', KEYS[1], 'hook_state', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'revision', 1)
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'hook_status', ARGV[4]) end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'hook_error', ARGV[5]) end
if ARGV[6] == '' then
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  local at = string.format('%.6f', now + tonumber(ARGV[6]))
  redis.call('HSET', KEYS[1], 'hook_next_at', at)
  redis.call('ZADD', KEYS[2], at, ARGV[1])
end
return 1
"""
)

# KEYS: signing; ARGV: new secret, overlap
_ROTATE = (
    NOW
    + """
local old = redis.call('HGET', KEYS[1], 'secret')
if old then
  redis.call('HSET', KEYS[1], 'before', old, 'before_until', string.format('%.6f', now + tonumber(ARGV[2])))
end
redis.call('HSET', KEYS[1], 'secret', ARGV[1])
"""
)

# KEYS: signing.  Returns the secrets that sign now, the newest first.
_SECRETS = (
    NOW
    + """
local new, old, till = unpack(redis.call('HMGET', KEYS[1], 'secret', 'before', 'before_until'))
if old and till and tonumber(till) > now then return {new, old} end
return {new}
"""
)


@dataclass(frozen=True)
class Taken:
    """An event in the hands of one sender."""

    job: str  # or batch
    token: str

    @property
    def record(self) -> str:
        """Its key, under the prefix."""
        return f"{'batch' if is_batch(self.job) else 'job'}:{self.job}"


class Outbox:
    """The events of all jobs. Thread-safe, as the redis client is; `redis.RedisError` passes through."""

    def __init__(self, client: redis.Redis, prefix: str = "polyseme:") -> None:
        self._redis = client
        self._prefix = prefix
        self._take = client.register_script(_TAKE)
        self._settle = client.register_script(_SETTLE)
        self._rotate = client.register_script(_ROTATE)
        self._secrets = client.register_script(_SECRETS)

    @classmethod
    def connect(cls, url: str, prefix: str = "polyseme:") -> Outbox:
        return cls(connect_redis(url), prefix)

    def take(self, *, lease_s: float) -> Taken | None:
        """An event that is due, now this caller's until `settle`, or until the lease is over. Counts the attempt."""
        token = secrets.token_hex(8)
        job = cast(str | None, self._take(keys=[self._prefix + DUE], args=[self._prefix, token, lease_s]))
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
        """Notes how it went. False when the lease went to another sender. delay_s: to the next attempt, if any."""
        keys = [self._prefix + taken.record, self._prefix + DUE]
        args = [taken.job, taken.token, state, status or "", error[:500], "" if delay_s is None else delay_s]
        return bool(self._settle(keys=keys, args=args))

    def count(self) -> int:
        """Events that are neither delivered nor given up."""
        return int(self._redis.zcard(self._prefix + DUE))

    def secrets(self, tenant: str) -> list[str]:
        """What signs a tenant's events, the newest first; two for a day after a rotation. Made on first use."""
        key = self._signing(tenant)
        self._redis.hsetnx(key, "secret", new_secret())
        return cast(list[str], self._secrets(keys=[key]))

    def rotate_secret(self, tenant: str) -> str:
        """The new secret. The one before it signs too, for a day."""
        secret = new_secret()
        self._rotate(keys=[self._signing(tenant)], args=[secret, OVERLAP_S])
        return secret

    def _signing(self, tenant: str) -> str:
        return f"{self._prefix}signing:{tenant}"


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def read_delivery(request: Mapping[str, Any], record: Mapping[str, str]) -> Delivery | None:
    """From a job's or a batch's request and the fields of its record; None without a webhook."""
    asked = request.get("webhook")
    if not asked:
        return None
    pending = record.get("hook_state") == "pending"
    return Delivery(
        url=asked["url"],
        state=cast(DeliveryState, record.get("hook_state", "waiting")),
        attempts=int(record.get("hook_attempts", 0)),
        last_status=int(record["hook_status"]) if "hook_status" in record else None,
        last_error=record.get("hook_error"),
        next_attempt_at=float(record["hook_next_at"]) if pending and "hook_next_at" in record else None,
    )
