"""Exit code 1 when the board answers and has not lately heard from this container's worker, which
is process 1.

A board that does not answer says nothing about the worker, and killing it would mend nothing.
"""

import os
import sys

import redis

from polyseme.contract.board.board import Board
from polyseme.contract.board.workers import worker_name
from polyseme.contract.settings import Settings

_TIMEOUT_S = 3.0

url = Settings.from_environ(os.environ).redis_url
client = redis.Redis.from_url(
    url, decode_responses=True, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
)
try:
    sys.exit(worker_name(1) not in Board(client).workers.list_names())
except redis.RedisError as e:
    print(f"the board does not answer: {type(e).__name__}")  # noqa: T201
