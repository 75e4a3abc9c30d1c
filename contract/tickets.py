"""The queues between API and workers: Celery on Redis.

A ticket says that there is work; the board says which.

So a ticket may be lost, and none is acknowledged: the scheduler replaces those that are missing.
(kombu counts a message whose acknowledgement failed, because Redis was away, as held for ever, and
a worker that holds one takes no other.)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celery import Celery
from kombu import Exchange, Queue

from polyseme.contract.board.sentinels import SCHEME, Sentinels
from polyseme.contract.names import DEFAULT_QUEUE

QUEUE = "polyseme"
TAKE_UNIT = "polyseme.take_unit"  # (queue, TICKET_VERSION)
TICKET_VERSION = 1  # grows with any change that an older worker would get wrong

_PREFIX = "polyseme:queue:"


def connect_queue(redis_url: str) -> Celery:
    """A Celery app that sends and takes tickets. Opens no connection yet."""
    transport: dict[str, Any] = {
        "priority_steps": [0],  # the board knows whose turn it is
        "queue_order_strategy": "round_robin",
        "socket_timeout": 30,
        "socket_connect_timeout": 5,
        "global_keyprefix": _PREFIX,
    }
    if redis_url.startswith(f"{SCHEME}://"):
        found = Sentinels.parse(redis_url)
        transport |= {"master_name": found.master, "sentinel_kwargs": found.credentials}
    app = Celery("polyseme", broker=_broker_url(redis_url), set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_pool="solo",
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # for ever: a worker outlives any absence of Redis
        broker_connection_timeout=5,
        broker_transport_options=transport,
        broker_transport=SCHEME if "master_name" in transport else "redis",
    )
    return app


def send_ticket(app: Celery, queue: str) -> None:
    """Wakes a worker of the queue. Raises kombu's OperationalError when Redis is away."""
    options: dict[str, Any] = {
        "retry": True,
        "retry_policy": {"max_retries": 2, "interval_start": 0.1},
    }
    app.send_task(TAKE_UNIT, args=(queue, TICKET_VERSION), queue=celery_queue(queue), **options)


def celery_queue(queue: str) -> str:
    """What a queue is called in the broker."""
    return QUEUE if queue == DEFAULT_QUEUE else f"{QUEUE}.{queue}"


def taken_queues(queues: Iterable[str]) -> list[Queue]:
    """What a worker of these queues consumes."""
    return [Queue(name, Exchange(name), name, no_ack=True) for name in map(celery_queue, queues)]


def ticket_keys(queues: Iterable[str] = (DEFAULT_QUEUE,)) -> dict[str, str]:
    """The Redis list with the tickets of each queue."""
    return {queue: _PREFIX + celery_queue(queue) for queue in queues}


def _broker_url(redis_url: str) -> str:
    """Celery's spelling: unix:///a.sock?db=1 is redis+socket:///a.sock?virtual_host=1."""
    if redis_url.startswith(f"{SCHEME}://"):
        return Sentinels.parse(redis_url).broker_url
    if not redis_url.startswith("unix://"):
        return redis_url
    path, _, query = redis_url.removeprefix("unix://").partition("?")
    database = dict(part.split("=", 1) for part in query.split("&") if "=" in part).get("db", "0")
    return f"redis+socket://{path}?virtual_host={database}"
