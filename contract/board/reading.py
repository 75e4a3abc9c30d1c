"""What several parts of the board read in the same way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import redis

from polyseme.contract.errors import DamagedRecord, InvalidRequest

_log = logging.getLogger(__name__)

Found = TypeVar("Found")


@contextmanager
def reading_record(name: str, *, is_newer: bool = False) -> Iterator[None]:
    """Whatever is wrong with what Redis has of something comes out as DamagedRecord."""
    try:
        yield
    except (KeyError, ValueError, TypeError, AttributeError, InvalidRequest) as e:
        why = f"the record of {name} cannot be read: {type(e).__name__}: {e}"
        raise DamagedRecord(why, is_newer=is_newer) from e


def leave_out_damaged(
    records: Iterable[tuple[Any, ...]], read: Callable[..., Found]
) -> Iterator[Found]:
    """Those that can be read, so that a damaged one spoils only itself. records: what `read` is
    called with.
    """
    for record in records:
        try:
            found = read(*record)
        except DamagedRecord as e:
            _log.error("left out: %s", e)
        else:
            yield found


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
