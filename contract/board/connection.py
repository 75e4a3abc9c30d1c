"""Connections to Redis: with limits on every wait, and only to one that keeps what it is told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from polyseme.contract.board.sentinels import SCHEME, Sentinels
from polyseme.contract.errors import UnsafeRedis

TIMEOUT_S = 5.0  # of a connection, and of one answer

_ADVICE = "or set POLYSEME_ALLOW_VOLATILE_REDIS=true and accept that jobs may be lost"

log = logging.getLogger(__name__)

Found = TypeVar("Found")


def connect_redis(url: str) -> redis.Redis:
    """Opens nothing yet. url: redis://, rediss://, unix:// or sentinel:// (see `sentinels`).

    A call waits at most TIMEOUT_S for an answer, so that a dead link is noticed.

    On a connection that was cut since its last use it is made again at once, on a new one: behind
    Sentinels, to the Redis that is the master then.
    """
    limits: dict[str, Any] = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
    options = limits | {
        "decode_responses": True,
        "retry": Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    }
    if not url.startswith(f"{SCHEME}://"):
        return redis.Redis.from_url(url, **options)
    found = Sentinels.parse(url)
    known = Sentinel(found.hosts, sentinel_kwargs=limits | found.credentials)
    login = {"db": found.database, "username": found.user, "password": found.password}
    return cast(redis.Redis, known.master_for(found.master, **login, **options))


def is_away(error: Exception) -> bool:
    """Whether Redis may take the same call later: it cannot be reached, is starting, or can write
    no more for now.
    """
    if isinstance(
        error,
        redis.ConnectionError | redis.TimeoutError | redis.ReadOnlyError | redis.OutOfMemoryError,
    ):
        return True
    return isinstance(error, redis.ResponseError) and str(error).startswith(
        ("MISCONF", "LOADING", "NOREPLICAS")
    )


def call_patiently(
    call: Callable[[], Found], wait: Callable[[float], bool], pause_s: float = 0.5
) -> Found:
    """The call's answer, as soon as Redis gives one.

    `wait` sleeps, and says whether to give up; then the error passes.

    The call must do no harm when made twice.
    """
    while True:
        try:
            return call()
        except redis.RedisError as e:
            if not is_away(e) or wait(pause_s):
                raise
            log.warning("Redis is away: %s", e)


def check_durability(url: str, *, allow_volatile: bool) -> None:
    """Raises UnsafeRedis for a Redis that keeps jobs in memory only, throws keys away when memory
    is short, or is a cluster.

    One that does not tell its configuration, as managed ones may not, is believed, with a warning.
    """
    client = connect_redis(url)
    try:
        found = _read_config(client)
    finally:
        client.close()
    if found is None:
        log.warning(
            "this Redis does not tell its configuration: see that it has appendonly yes and "
            "noeviction"
        )
        return
    if found.get("cluster-enabled") == "yes":
        raise UnsafeRedis(
            "Redis runs as a cluster: what a job needs at once would lie on several of its nodes; "
            "use one Redis, alone or behind Sentinels"
        )
    problems = _find_problems(found)
    if problems and not allow_volatile:
        raise UnsafeRedis(
            f"{' and '.join(problems)}; configure Redis (see deploy/redis.conf), {_ADVICE}"
        )
    for problem in problems:
        log.warning("%s", problem)
    if found.get("appendonly") == "yes" and found.get("appendfsync") != "always":
        log.warning(
            "Redis has appendfsync %s: a crash of its machine may lose the last second of "
            "accepted jobs; a crash of "
            "Redis alone does not",
            found.get("appendfsync"),
        )


def _read_config(client: redis.Redis) -> dict[str, str] | None:
    """What decides whether data is kept; None where Redis does not say."""
    try:
        # Several patterns at once need Redis 7.
        parts: list[Any] = [
            client.config_get(n)
            for n in ("appendonly", "appendfsync", "maxmemory-policy", "cluster-enabled")
        ]
    except redis.ResponseError:
        return None
    found = cast(dict[str, str], {k: v for part in parts for k, v in part.items()})
    return found or None


def _find_problems(found: dict[str, str]) -> list[str]:
    problems = []
    if found.get("appendonly") != "yes":
        problems.append(
            f"Redis has appendonly {found.get('appendonly')}: jobs would be lost when it is killed"
        )
    if (policy := found.get("maxmemory-policy")) != "noeviction":
        problems.append(
            f"Redis has maxmemory-policy {policy}: it must be noeviction, or jobs may be thrown "
            f"away"
        )
    return problems
