"""The board, as one: what it holds is cut by who uses it.

Nothing on it decides. What lies where in Redis, `keys` says.
"""

from __future__ import annotations

import redis

from polyseme.contract.board.accounts import Accounts
from polyseme.contract.board.batches import Batches
from polyseme.contract.board.connection import connect_redis
from polyseme.contract.board.jobs import Jobs
from polyseme.contract.board.keys import Keys
from polyseme.contract.board.registry import Registry
from polyseme.contract.board.units import Units
from polyseme.contract.board.workers import Workers


class Board:
    """Thread-safe, as the redis client is.

    Library errors (`redis.RedisError`) pass through to the edge.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        keys = Keys()
        self.jobs = Jobs(client, keys)
        self.units = Units(client, keys)
        self.workers = Workers(client, keys)
        self.registry = Registry(client, keys)
        self.accounts = Accounts(client, keys)
        self.batches = Batches(client, keys)

    @classmethod
    def connect(cls, url: str) -> Board:
        return cls(connect_redis(url))

    def ping(self) -> bool:
        return bool(self._redis.ping())
