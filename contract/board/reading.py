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
) -> list[tuple[float, str]]:
    """Of a sorted set of ids by creation, those older than `before`, newest first. (created_at, id)
    each.
    """
    top = f"{before[0]:.6f}" if before else "+inf"
    found = cast(
        list[tuple[str, float]],
        client.zrange(
            key, top, "-inf", byscore=True, desc=True, offset=0, num=count + 1, withscores=True
        ),
    )
    places = ((score, name) for name, score in found)
    return [place for place in places if before is None or place < before][:count]
