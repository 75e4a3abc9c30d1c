"""How the service is spoken to, without doing it: generators that yield calls and pauses, and are
sent the answers.

A driver (`polyseme.drivers`) acts, with or without asyncio. So what is repeated, waited for and
paged is written once.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, TypeVar

from polyseme.problems import Problem, Unreachable, retry_after_s

A = TypeVar("A")

Json = dict[str, Any]
Scalar = str | int | float | bool
Query = Scalar | Sequence[Scalar] | None  # a list goes with commas between

_TRIES = 4  # of a call answered 429 or 503, however short the patience
_USUAL_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_SHORTEST_ABSENCE_S, _LONGEST_ABSENCE_S = 0.25, 4.0  # between tries of a service that is not there
_NEXT = re.compile(r'<([^>]+)>;\s*rel="?next"?')


@dataclass(frozen=True)
class Call:
    method: str
    path: str  # below the service's URL
    query: Mapping[str, Query] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None  # JSON
    content: Callable[[], Iterable[bytes]] | None = None  # a stream in its place
    sink: IO[bytes] | None = None  # where a good answer's body goes as it arrives
    is_stream: bool = False  # a good answer's body is not read, but left open
    is_safe: bool = True  # to be made again when no answer came: it may have been carried out
    is_once: bool = False  # not even after 429 or 503: its content can be read only once


@dataclass(frozen=True)
class Pause:
    seconds: float
    why: str = ""  # to be told to the user; empty for what is usual


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # looked up in any case
    body: bytes = b""
    size: int = 0  # bytes that went to the sink
    stream: Any = None  # the driver's open response

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def next_page(self) -> str | None:
        link = _NEXT.search(self.headers.get("Link", ""))
        return link[1] if link else None


Steps = Generator[Call | Pause, Any, A]
"""Is sent an Answer for a Call, or thrown Unreachable; and None for a Pause."""


def send(call: Call, patience_s: float) -> Steps[Answer]:
    """The good answer to a call. Raises Problem for another, and Unreachable.

    patience_s: for how long it is tried again while nobody answers, or the service is busy. A busy
    service is asked four times at least, unless it says to come back in more than a minute.
    """
    began, tries = time.monotonic(), 0
    while True:
        tries += 1
        try:
            answer: Answer = yield call
        except Unreachable as e:
            pause_s = min(_SHORTEST_ABSENCE_S * 2 ** min(tries - 1, 9), _LONGEST_ABSENCE_S)
            if not call.is_safe or call.is_once or time.monotonic() - began + pause_s > patience_s:
                raise
            yield Pause(
                pause_s, f"{e}; trying again for up to {patience_s:.0f} s" if tries == 1 else ""
            )
            continue
        if answer.status < 400:
            return answer
        problem = Problem.of(answer.status, answer.headers, answer.body)
        if answer.status not in (429, 503) or call.is_once:
            raise problem
        pause_s = _USUAL_PAUSE_S if problem.retry_after_s is None else problem.retry_after_s
        is_spent = tries >= _TRIES or pause_s > _LONGEST_PAUSE_S
        if is_spent and time.monotonic() - began + pause_s >= patience_s:
            raise problem
        yield Pause(pause_s, f"The service is busy: {problem.detail}" if tries == 1 else "")


def asked_pause_s(answer: Answer) -> float:
    """Until the next poll."""
    seconds = retry_after_s(answer.headers)
    return _USUAL_PAUSE_S if seconds is None else min(seconds, _LONGEST_PAUSE_S)
