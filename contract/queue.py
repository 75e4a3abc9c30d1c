"""The queue between API and workers: Celery on Redis. Tickets hold ids only; the board says what they mean."""

from __future__ import annotations

from typing import Any

from celery import Celery

QUEUE = "polyseme"
RUN_UNIT = "polyseme.run_unit"  # (job id, unit, TICKET_VERSION)
TICKET_VERSION = 1  # grows with any change that an older worker would get wrong

# In Celery's Redis transport 0 goes first.
PRIORITIES = {"high": 0, "normal": 3, "low": 6}

_VISIBILITY_S = 3600  # a unit takes far less; a lost one is found by the board's deadlines, in seconds


def connect_queue(redis_url: str) -> Celery:
    """A Celery app that sends and takes tickets. Opens no connection yet."""
    app = Celery("polyseme", broker=_broker_url(redis_url), set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_acks_late=True,
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
        broker_transport_options={
            "visibility_timeout": _VISIBILITY_S,
            "priority_steps": sorted(PRIORITIES.values()),
            "queue_order_strategy": "priority",
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "global_keyprefix": "polyseme:queue:",
        },
        broker_transport="redis",
    )
    return app


def send_unit(app: Celery, job: str, unit: str, priority: str) -> None:
    """Puts a ticket for one unit of a job on the queue. Raises kombu's OperationalError when Redis is away."""
    options: dict[str, Any] = {"retry": True, "retry_policy": {"max_retries": 2, "interval_start": 0.1}}
    app.send_task(RUN_UNIT, args=(job, unit, TICKET_VERSION), queue=QUEUE, priority=PRIORITIES[priority], **options)


def queue_keys() -> dict[str, str]:
    """The Redis list of each priority, whose lengths are the queue's depth."""
    prefix = "polyseme:queue:"
    return {name: prefix + QUEUE + (f"\x06\x16{step}" if step else "") for name, step in PRIORITIES.items()}


def _broker_url(redis_url: str) -> str:
    """Celery's spelling of a unix socket: unix:///a.sock?db=1 is redis+socket:///a.sock?virtual_host=1."""
    if not redis_url.startswith("unix://"):
        return redis_url
    path, _, query = redis_url.removeprefix("unix://").partition("?")
    database = dict(part.split("=", 1) for part in query.split("&") if "=" in part).get("db", "0")
    return f"redis+socket://{path}?virtual_host={database}"
