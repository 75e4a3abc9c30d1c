"""What several parts of the board read in the same way."""

from __future__ import annotations

from typing import cast

import redis


def read_time(client: redis.Redis) -> float:
    """Seconds since the epoch by Redis' clock."""
    seconds, micros = client.time()
    return float(seconds + micros / 1e6)


def list_before(
    client: redis.Redis, key: str, before: tuple[float, str] | None, count: int
) -> list[str]:
    """Of a sorted set of ids by creation, those older than `before` (created_at, id), newest
    first.
    """
    top = f"{before[0]:.6f}" if before else "+inf"
    found = cast(
        list[tuple[str, float]],
        client.zrange(
            key, top, "-inf", byscore=True, desc=True, offset=0, num=count + 1, withscores=True
        ),
    )
    return [name for name, score in found if before is None or (score, name) < before][:count]
