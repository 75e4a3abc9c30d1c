"""Workers on the board: who is there, which queues they serve, and who looks after all jobs."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import cast

import redis

from polyseme.contract.board.keys import Keys
from polyseme.contract.board.scripts import Script
from polyseme.contract.names import DEFAULT_QUEUE


class Workers:
    """Thread-safe, as the redis client is; `redis.RedisError` passes through."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys
        self._announce = Script(client, "workers/announce")
        self._list_names = Script(client, "workers/list_names")
        self._list_served = Script(client, "workers/list_served")
        self._acquire_leadership = Script(client, "workers/acquire_leadership")
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
        self._announce(
            workers=self._keys.workers(),
            queues=self._keys.queues(),
            prefix=self._keys.prefix,
            worker=worker,
            ttl_s=ttl_s,
            served=",".join(queues),
            encoders=self._keys.encoders(),
            has_encoder=int(has_encoder),
        )

    def count(self) -> int:
        """How many were heard of lately."""
        return len(self.list_names())

    def count_encoders(self) -> int:
        """How many of them have a sentence encoder."""
        having = cast(set[str], self._redis.smembers(self._keys.encoders()))
        return len(having.intersection(self.list_names()))

    def list_names(self) -> list[str]:
        """The names of those heard of lately."""
        found = self._list_names(workers=self._keys.workers(), prefix=self._keys.prefix)
        return cast(list[str], found)

    def count_by_queue(self) -> dict[str, int]:
        """How many of those heard of lately serve each queue; queues that none serves are left
        out.
        """
        workers, queues = self._keys.workers(), self._keys.queues()
        served = self._list_served(workers=workers, queues=queues, prefix=self._keys.prefix)
        return dict(
            Counter(queue for queues in served for queue in (queues or DEFAULT_QUEUE).split(","))
        )

    def acquire_leadership(self, worker: str, *, most_s: float) -> bool:
        """Whether this worker is to look after all jobs now: one does at a time.

        Another may after `most_s`.
        """
        leadership, prefix = self._keys.leadership(), self._keys.prefix
        return bool(
            self._acquire_leadership(
                leadership=leadership, prefix=prefix, worker=worker, most_s=most_s
            )
        )

    def release_leadership(self, worker: str, *, pause_s: float) -> None:
        """Lets any worker look after all jobs again in `pause_s` seconds."""
        self._release_leadership(
            leadership=self._keys.leadership(),
            prefix=self._keys.prefix,
            worker=worker,
            pause_s=max(pause_s, 0.0),
        )

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
