"""Workers on the board: who is there, which queues they serve, and who looks after all jobs."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import cast

import redis

from polyseme.contract.board.keys import Keys
from polyseme.contract.board.reading import read_time
from polyseme.contract.board.scripts import Script
from polyseme.contract.names import DEFAULT_QUEUE


class Workers:
    """Thread-safe, as the redis client is; `redis.RedisError` passes through."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys
        self._list_served = Script(client, "workers/list_served")
        self._release_leadership = Script(client, "workers/release_leadership")

    def announce(
        self,
        worker: str,
        *,
        ttl_s: float,
        queues: Sequence[str] = (DEFAULT_QUEUE,),
        has_encoder: bool = False,
    ) -> None:
        """Says that a worker is there, for so long, and what it serves. Drops those that are
        gone.
        """
        encoders = self._keys.encoders()
        workers, served, now = self._keys.workers(), self._keys.queues(), read_time(self._redis)
        gone = cast(list[str], self._redis.zrange(workers, "-inf", now, byscore=True))
        pipe = self._redis.pipeline()
        if gone:
            pipe.zrem(workers, *gone)
            pipe.hdel(served, *gone)
        pipe.zadd(workers, {worker: now + ttl_s})
        pipe.hset(served, worker, ",".join(queues))
        pipe.zremrangebyscore(encoders, "-inf", now)
        if has_encoder:
            pipe.zadd(encoders, {worker: now + ttl_s})
        pipe.execute()

    def count(self) -> int:
        """How many were heard of lately."""
        return int(self._redis.zcount(self._keys.workers(), read_time(self._redis), "+inf"))

    def count_encoders(self) -> int:
        """How many of them have a sentence encoder."""
        return int(self._redis.zcount(self._keys.encoders(), read_time(self._redis), "+inf"))

    def list_names(self) -> list[str]:
        """The names of those heard of lately."""
        now = read_time(self._redis)
        return cast(list[str], self._redis.zrange(self._keys.workers(), now, "+inf", byscore=True))

    def count_by_queue(self) -> dict[str, int]:
        """How many of those heard of lately serve each queue; queues that none serves are left
        out.
        """
        served = self._list_served(workers=self._keys.workers(), queues=self._keys.queues())
        return dict(
            Counter(queue for queues in served for queue in (queues or DEFAULT_QUEUE).split(","))
        )

    def acquire_leadership(self, worker: str, *, most_s: float) -> bool:
        """Whether this worker is to look after all jobs now: one does at a time.

        Another may after `most_s`.
        """
        px = round(1000 * most_s)
        return bool(self._redis.set(self._keys.leader(), worker, nx=True, px=px))

    def release_leadership(self, worker: str, *, pause_s: float) -> None:
        """Lets any worker look after all jobs again in `pause_s` seconds."""
        pause_ms = max(round(1000 * pause_s), 1)
        self._release_leadership(leader=self._keys.leader(), worker=worker, pause_ms=pause_ms)

    def count_tickets(self, keys: Mapping[str, str]) -> dict[str, int]:
        """How many tickets lie in each queue. keys: the Redis list of each, without the prefix of
        the board.
        """
        pipe = self._redis.pipeline(transaction=False)
        for key in keys.values():
            pipe.llen(key)
        return dict(zip(keys, pipe.execute(), strict=True))


def worker_name(pid: int) -> str:
    """What a worker process of this machine is called on the board."""
    return f"{socket.gethostname()}:{pid}"
