"""Accounts: API keys, tenants, and what each tenant has used, in Redis beside the board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import redis

from polyseme.contract.board.keys import Keys
from polyseme.contract.board.scripts import Script
from polyseme.contract.records.tenants import (
    ApiKey,
    Scope,
    Tenant,
    hash_secret,
    is_secret,
    new_key_id,
    new_secret,
)


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
    """Thread-safe, as the redis client is.

    Library errors (`redis.RedisError`) pass through to the edge.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys
        self._create_key = Script(client, "accounts/create_key")
        self._rotate_key = Script(client, "accounts/rotate_key")
        self._revoke_key = Script(client, "accounts/revoke_key")
        self._identify = Script(client, "accounts/identify")
        self._grant_requests = Script(client, "accounts/grant_requests")
        self._note_stored = Script(client, "accounts/note_stored")

    # Keys

    def create_key(
        self, tenant: str, scopes: Sequence[Scope], name: str = ""
    ) -> tuple[ApiKey, str]:
        """The new key, and its secret, which nobody can ask for again."""
        key, secret = new_key_id(), new_secret()
        digest = hash_secret(secret)
        self._create_key(
            api_keys=self._keys.api_keys(),
            record=self._keys.api_key(key),
            credential=self._keys.credential(digest),
            tenants=self._keys.tenants(),
            key=key,
            digest=digest,
            tenant=tenant,
            scopes=",".join(scopes),
            name=name,
        )
        return cast(ApiKey, self.get_key(key)), secret

    def get_key(self, key: str) -> ApiKey | None:
        record = cast(dict[str, str], self._redis.hgetall(self._keys.api_key(key)))
        return _read_key(key, record) if record else None

    def list_keys(self) -> list[ApiKey]:
        """Oldest first, revoked ones too."""
        ids = cast(list[str], self._redis.zrange(self._keys.api_keys(), 0, -1))
        return [k for k in map(self.get_key, ids) if k]

    def has_keys(self) -> bool:
        """Whether there ever was one. Revoking the last does not open the service again."""
        return bool(self._redis.exists(self._keys.api_keys()))

    def rotate_key(self, key: str, *, keep_s: int = 0) -> str | None:
        """The key's new secret; the old one holds for `keep_s` seconds more.

        None when there is no such key.
        """
        secret = new_secret()
        digest = hash_secret(secret)
        changed = self._rotate_key(
            record=self._keys.api_key(key),
            credential=self._keys.credential(digest),
            prefix=self._keys.prefix,
            key=key,
            digest=digest,
            keep_s=keep_s,
        )
        return secret if changed else None

    def revoke_key(self, key: str) -> bool:
        """Whether there was such a key that was not revoked."""
        record = self._keys.api_key(key)
        return bool(self._revoke_key(record=record, prefix=self._keys.prefix))

    def identify(self, secret: str | None) -> Identity | None:
        """Whose a secret is.

        None while there are no keys. Raises PermissionError for one that is none, or is missing.

        It takes the same steps whatever is wrong with a secret.
        """
        digest = hash_secret(secret) if secret is not None and is_secret(secret) else ""
        verdict, *found = self._identify(
            api_keys=self._keys.api_keys(),
            credential=self._keys.credential(digest),
            prefix=self._keys.prefix,
        )
        if verdict == "open":
            return None
        if verdict != "known":
            raise PermissionError
        key, tenant, scopes, limit = found
        return Identity(key, tenant, _split_scopes(scopes), int(limit) if limit else None)

    # Tenants

    def get_tenant(self, tenant: str) -> Tenant:
        """What is set for a tenant; the defaults when nothing is."""
        return Tenant.from_fields(
            tenant, cast(dict[str, str], self._redis.hgetall(self._keys.tenant(tenant)))
        )

    def put_tenant(self, tenant: Tenant) -> None:
        pipe = self._redis.pipeline(transaction=True)
        pipe.sadd(self._keys.tenants(), tenant.id)
        pipe.delete(self._keys.tenant(tenant.id))
        pipe.hset(self._keys.tenant(tenant.id), mapping=dict(tenant.to_fields().items()))
        pipe.execute()

    def list_tenants(self) -> list[Tenant]:
        """Those that were set up or have had a key, by id."""
        return [
            self.get_tenant(t)
            for t in sorted(cast(set[str], self._redis.smembers(self._keys.tenants())))
        ]

    def weights(self) -> dict[str, float]:
        """The weight of every tenant that has another than 1."""
        return {t.id: t.weight for t in self.list_tenants() if t.weight != 1}

    # What they use

    def grant_requests(self, tenant: str, wanted: int, limit: int) -> Grant:
        """Of `limit` requests in this minute of Redis' clock, at most `wanted`."""
        minute = self._keys.tenant_minute(tenant)
        return Grant(*self._grant_requests(tenant_minute=minute, wanted=wanted, limit=limit))

    def note_stored(self, tenant: str, item: str, size: int, *, limit: int = 0) -> bool:
        """Counts an item as `size` bytes of the tenant's from now on; False, and no change, when
        that is too much.

        item: "corpus:<id>", "vectors:<id>" or "job:<id>". 0 bytes: it is deleted.
        """
        noted = self._note_stored(
            stored=self._keys.stored(tenant),
            stored_bytes=self._keys.stored_bytes(),
            tenant=tenant,
            item=item,
            bytes=size,
            limit=limit,
        )
        return bool(noted)

    def stored_bytes(self, tenant: str) -> int:
        return int(cast(str | None, self._redis.hget(self._keys.stored_bytes(), tenant)) or 0)

    def count_active(self, tenant: str) -> int:
        """The tenant's jobs that have not ended."""
        return int(self._redis.zcard(self._keys.tenant_active(tenant)))


def _read_key(key: str, record: dict[str, str]) -> ApiKey:
    def moment(name: str) -> float | None:
        return float(record[name]) if name in record else None

    return ApiKey(
        id=key,
        tenant=record["tenant"],
        scopes=_split_scopes(record["scopes"]),
        name=record["name"],
        created_at=float(record["created_at"]),
        rotated_at=moment("rotated_at"),
        revoked_at=moment("revoked_at"),
    )


def _split_scopes(text: str) -> tuple[Scope, ...]:
    return cast(tuple[Scope, ...], tuple(text.split(",")))
