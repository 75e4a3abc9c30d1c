"""A job as server-sent events: what is sent when. Knows nothing of Flask."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import redis

from polyseme.service.json_text import dump_json
from polyseme.service.waiting.watch import JobSnapshot, Subscription, Watch

HEARTBEAT_S = 5.0  # how soon a client that has gone away is noticed
PAUSE_S = 0.25  # between two events: many workers make many revisions
LONGEST_S = 300.0  # of a stream: then the client comes again, and its key is looked at again
_RETRY_MS = 2000
_HEARTBEAT = ": still here\n\n"

Show = Callable[[JobSnapshot], dict[str, Any]]


def stream_events(watch: Watch, job: str, last: int | None, show: Show) -> Iterator[str]:
    """Events of a job from the revision after `last` to its end; heartbeats in between.

    It ends early, without the event `ended`, when the board cannot be read, the job is deleted or
    the time is over. A client then asks again, and is told what is the matter.
    """
    yield f"retry: {_RETRY_MS}\n\n"
    over = time.monotonic() + LONGEST_S
    with watch.subscribe(job) as subscription:
        while not watch.is_closed and time.monotonic() < over:
            snapshot = _await_revision(subscription, last)
            if snapshot is None:
                return
            if snapshot.job.revision == last and not snapshot.job.is_terminal:
                yield _HEARTBEAT
                continue
            last = snapshot.job.revision
            yield write_event(snapshot, show)
            if snapshot.job.is_terminal:
                return
            subscription.wait(lambda s: s.job.is_terminal, PAUSE_S)


def write_event(snapshot: JobSnapshot, show: Show) -> str:
    kind = "ended" if snapshot.job.is_terminal else "progress"
    data = dump_json(show(snapshot)).decode()
    return f"id: {snapshot.job.revision}\nevent: {kind}\ndata: {data}\n\n"


def read_revision(text: str | None) -> int | None:
    """Of Last-Event-ID; one that is no revision is as good as none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else None


def _await_revision(subscription: Subscription, last: int | None) -> JobSnapshot | None:
    try:
        return subscription.wait(lambda s: s.job.is_terminal or s.job.revision != last, HEARTBEAT_S)
    except redis.RedisError:
        return None
