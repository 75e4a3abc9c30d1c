"""Accounts: API keys, tenants, and what each tenant has used, in Redis beside the board.

Keys, under the board's prefix:
  keys                zset by creation of all API keys, revoked ones too: once there was one, nobody is served without
  key:<id>            hash: tenant, scopes, name, created_at, rotated_at, revoked_at, credential (the hash that holds)
  credential:<hash>   id of the key whose secret has this SHA-256; a replaced one ends with its time to live
  tenants             set of tenants that were set up or have had a key
  tenant:<id>         hash: weight and quotas, those that are not the service's defaults
  tenant:<id>:minute  hash: minute, requests granted in it
  stored:<tenant>     hash: corpus:<id> or job:<id> -> bytes in the store
  stored_bytes        hash: tenant -> their sum
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis

from contract.connection import NOW
from contract.tenants import ApiKey, Scope, Tenant, hash_secret, is_secret, new_key_id, new_secret

# KEYS: keys, key, credential, tenants; ARGV: id, hash, tenant, scopes, name
_CREATE = (
    NOW
    + """
redis.call('ZADD', KEYS[1], string.format('%.6f', now), ARGV[1])
redis.call('HSET', KEYS[2], 'tenant', ARGV[3], 'scopes', ARGV[4], 'name', ARGV[5],
  'created_at', string.format('%.6f', now), 'credential', ARGV[2])
redis.call('SET', KEYS[3], ARGV[1])
redis.call('SADD', KEYS[4], ARGV[3])
"""
)

# KEYS: key, credential; ARGV: id, hash, prefix of credentials, seconds that the replaced secret still holds
_ROTATE = (
    NOW
    + """
local old, revoked = unpack(redis.call('HMGET', KEYS[1], 'credential', 'revoked_at'))
if not old or revoked then return 0 end
redis.call('HSET', KEYS[1], 'credential', ARGV[2], 'rotated_at', string.format('%.6f', now))
redis.call('SET', KEYS[2], ARGV[1])
if tonumber(ARGV[4]) > 0 then redis.call('EXPIRE', ARGV[3] .. old, ARGV[4]) else redis.call('DEL', ARGV[3] .. old) end
return 1
"""
)

# KEYS: key; ARGV: prefix of credentials.  A replaced secret that still held leads to a revoked key from now on.
_REVOKE = (
    NOW
    + """
local old, revoked = unpack(redis.call('HMGET', KEYS[1], 'credential', 'revoked_at'))
if not old or revoked then return 0 end
redis.call('HSET', KEYS[1], 'revoked_at', string.format('%.6f', now))
redis.call('DEL', ARGV[1] .. old)
return 1
"""
)

# KEYS: keys, credential; ARGV: prefix of keys, of tenants.  Only reads: a write at each request would be a sync of the
# append-only file at each.  Returns {'open'}, {'refused'} or {'known', key, tenant, scopes, requests a minute or ''}.
_IDENTIFY = """
if redis.call('EXISTS', KEYS[1]) == 0 then return {'open'} end
local id = redis.call('GET', KEYS[2])
if not id then return {'refused'} end
local tenant, scopes, revoked = unpack(redis.call('HMGET', ARGV[1] .. id, 'tenant', 'scopes', 'revoked_at'))
if not tenant or revoked then return {'refused'} end
return {'known', id, tenant, scopes, redis.call('HGET', ARGV[2] .. tenant, 'requests_per_minute') or ''}
"""

# KEYS: minute; ARGV: wanted, limit.  Returns how many are granted, how many then are left, and whole seconds to the end
_GRANT = """
local seconds = tonumber(redis.call('TIME')[1])
local minute, left = math.floor(seconds / 60), 60 - seconds % 60
local found = redis.call('HMGET', KEYS[1], 'minute', 'granted')
local used = tonumber(found[1]) == minute and tonumber(found[2]) or 0
local granted = math.max(math.min(tonumber(ARGV[1]), tonumber(ARGV[2]) - used), 0)
if granted > 0 then
  redis.call('HSET', KEYS[1], 'minute', minute, 'granted', used + granted); redis.call('EXPIRE', KEYS[1], 120)
end
return {granted, math.max(tonumber(ARGV[2]) - used - granted, 0), left}
"""

# KEYS: stored, stored_bytes; ARGV: tenant, item, bytes, limit (0 for none).  Returns 1, or 0 and changes nothing when
# it would be more than the limit.
_STORE = """
local old = tonumber(redis.call('HGET', KEYS[1], ARGV[2]) or '0')
local change = tonumber(ARGV[3]) - old
local total = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '0') + change
if change > 0 and tonumber(ARGV[4]) > 0 and total > tonumber(ARGV[4]) then return 0 end
if tonumber(ARGV[3]) > 0 then redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
else redis.call('HDEL', KEYS[1], ARGV[2]) end
if change ~= 0 then redis.call('HINCRBY', KEYS[2], ARGV[1], change) end
return 1
"""


@dataclass(frozen=True)
class Identity:
    """Who a request comes from."""

    key: str
    tenant: str
    scopes: tuple[Scope, ...]
    requests_per_minute: int | None  # None: the service's default


@dataclass(frozen=True)
class Grant:
    """Requests that a process may take in without asking again."""

    granted: int
    left: int  # for all processes, in this minute
    seconds: int  # to the end of the minute


class Accounts:
    """Thread-safe, as the redis client is. Library errors (`redis.RedisError`) pass through to the edge."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self._redis = client
        self._prefix = prefix
        texts = {"create": _CREATE, "rotate": _ROTATE, "revoke": _REVOKE}
        texts |= {"identify": _IDENTIFY, "grant": _GRANT, "store": _STORE}
        self._scripts = {name: client.register_script(text) for name, text in texts.items()}

    def _key(self, *parts: str) -> str:
        return self._prefix + ":".join(parts)

    def _run(self, name: str, keys: Iterable[str], *args: Any) -> Any:
        return self._scripts[name](keys=list(keys), args=list(args))

    # Keys

    def create_key(self, tenant: str, scopes: Sequence[Scope], name: str = "") -> tuple[ApiKey, str]:
        """The new key, and its secret, which nobody can ask for again."""
        key, secret = new_key_id(), new_secret()
        digest = hash_secret(secret)
        keys = [self._key("keys"), self._key("key", key), self._key("credential", digest), self._key("tenants")]
        self._run("create", keys, key, digest, tenant, ",".join(scopes), name)
        return cast(ApiKey, self.get_key(key)), secret

    def get_key(self, key: str) -> ApiKey | None:
        found = cast(dict[str, str], self._redis.hgetall(self._key("key", key)))
        return _read_key(key, found) if found else None

    def list_keys(self) -> list[ApiKey]:
        """Oldest first, revoked ones too."""
        ids = cast(list[str], self._redis.zrange(self._key("keys"), 0, -1))
        return [k for k in map(self.get_key, ids) if k]

    def has_keys(self) -> bool:
        """Whether there ever was one. Revoking the last does not open the service again."""
        return bool(self._redis.exists(self._key("keys")))

    def rotate_key(self, key: str, *, keep_s: int = 0) -> str | None:
        """The key's new secret; the old one holds for `keep_s` seconds more. None when there is no such key."""
        secret = new_secret()
        digest = hash_secret(secret)
        keys = [self._key("key", key), self._key("credential", digest)]
        changed = self._run("rotate", keys, key, digest, self._key("credential", ""), keep_s)
        return secret if changed else None

    def revoke_key(self, key: str) -> bool:
        """Whether there was such a key that was not revoked."""
        return bool(self._run("revoke", [self._key("key", key)], self._key("credential", "")))

    def identify(self, secret: str | None) -> Identity | None:
        """Whose a secret is. None while there are no keys. Raises PermissionError for one that is none, or is missing.

        It takes the same steps whatever is wrong with a secret.
        """
        digest = hash_secret(secret) if secret is not None and is_secret(secret) else ""
        keys = [self._key("keys"), self._key("credential", digest)]
        verdict, *found = self._run("identify", keys, self._key("key", ""), self._key("tenant", ""))
        if verdict == "open":
            return None
        if verdict != "known":
            raise PermissionError
        key, tenant, scopes, limit = found
        return Identity(key, tenant, _split_scopes(scopes), int(limit) if limit else None)

    # Tenants

    def get_tenant(self, tenant: str) -> Tenant:
        """What is set for a tenant; the defaults when nothing is."""
        return Tenant.from_fields(tenant, cast(dict[str, str], self._redis.hgetall(self._key("tenant", tenant))))

    def put_tenant(self, tenant: Tenant) -> None:
        pipe = self._redis.pipeline(transaction=True)
        pipe.sadd(self._key("tenants"), tenant.id)
        pipe.delete(self._key("tenant", tenant.id))
        pipe.hset(self._key("tenant", tenant.id), mapping=dict(tenant.to_fields().items()))
        pipe.execute()

    def list_tenants(self) -> list[Tenant]:
        """Those that were set up or have had a key, by id."""
        return [self.get_tenant(t) for t in sorted(cast(set[str], self._redis.smembers(self._key("tenants"))))]

    def weights(self) -> dict[str, float]:
        """The weight of every tenant that has another than 1."""
        return {t.id: t.weight for t in self.list_tenants() if t.weight != 1}

    # What they use

    def grant_requests(self, tenant: str, wanted: int, limit: int) -> Grant:
        """Of `limit` requests in this minute of Redis' clock, at most `wanted`."""
        return Grant(*self._run("grant", [self._key("tenant", tenant, "minute")], wanted, limit))

    def note_stored(self, tenant: str, item: str, size: int, *, limit: int = 0) -> bool:
        """Counts an item as `size` bytes of the tenant's from now on; False, and no change, when that is too much.

        item: "corpus:<id>" or "job:<id>". 0 bytes: it is deleted.
        """
        keys = [self._key("stored", tenant), self._key("stored_bytes")]
        return bool(self._run("store", keys, tenant, item, size, limit))

    def stored_bytes(self, tenant: str) -> int:
        return int(cast(str | None, self._redis.hget(self._key("stored_bytes"), tenant)) or 0)

    def count_active(self, tenant: str) -> int:
        """The tenant's jobs that have not ended."""
        return int(self._redis.zcard(self._key("active", tenant)))


def _read_key(key: str, found: dict[str, str]) -> ApiKey:
    def moment(name: str) -> float | None:
        return float(found[name]) if name in found else None

    return ApiKey(
        id=key,
        tenant=found["tenant"],
        scopes=_split_scopes(found["scopes"]),
        name=found["name"],
        created_at=float(found["created_at"]),
        rotated_at=moment("rotated_at"),
        revoked_at=moment("revoked_at"),
    )


def _split_scopes(text: str) -> tuple[Scope, ...]:
    return cast(tuple[Scope, ...], tuple(text.split(",")))
