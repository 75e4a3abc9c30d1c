"""Starts children in order, starts again those that die, and stops them in reverse.

Knows nothing of what they are.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from polyseme.errors import CommandError
from polyseme.stack.child import Child

_POLL_S = 0.05
_SLOW_S = 5.0  # after which it is said what a child does before it is ready
_SETTLED_S = 60.0  # a child that ran this long starts its backoff afresh
_BACKOFF_S = (
    1.0,
    2.0,
    5.0,
    10.0,
    30.0,
    30.0,
    30.0,
    30.0,
)  # before each restart in a row; there are no more than these


@dataclass
class Member:
    """A child and how it is kept."""

    child: Child
    is_ready: Callable[[], bool]  # quick, never raises
    ready_s: float  # from start to ready, at most
    rank: int  # those of a higher rank stop first, those of one together
    slow_note: str = ""  # said once when it is not ready soon
    is_up: bool = False  # it got ready after its last start
    started_at: float = 0.0  # seconds of the monotonic clock; so is the next
    restart_at: float | None = None  # None unless it is dead
    ends: int = 0  # in a row: each soon after its start


class Supervisor:
    """Runs in the main thread, since it takes the signals SIGINT, SIGTERM and SIGHUP while it
    runs.
    """

    def __init__(
        self, members: Sequence[Member], say: Callable[[str], None], *, verbose: bool = False
    ) -> None:
        self._members = members
        self._say = say
        self._verbose = verbose
        self._stop_asked = False

    def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Returns after a signal, once every child has ended.

        Raises CommandError when the stack cannot go on.
        """
        with self._signals():
            try:
                for i, member in enumerate(self._members):
                    self._bring_up(member, self._members[:i])
                if not self._stop_asked:
                    on_ready()
                while not self._stop_asked:
                    self._watch(self._members)
                    self._pause()
            finally:
                self._stop_all()

    def _bring_up(self, member: Member, others: Sequence[Member]) -> None:
        """Starts a child and waits until it is ready or a signal comes, while the others are
        watched.
        """
        if self._stop_asked:
            return
        self._start(member)
        is_told = not member.slow_note
        while not self._stop_asked and not self._is_up(member):
            if not is_told and time.monotonic() - member.started_at > _SLOW_S:
                self._say(f"{member.child.name:<9} {member.slow_note}")
                is_told = True
            if not member.child.is_running():
                raise CommandError(
                    f"{_describe_end(member.child)}\nIt did not get ready; nothing is left running."
                )
            if self._is_late(member):
                raise CommandError(_describe_delay(member))
            self._watch(others)
            self._pause()

    def _start(self, member: Member) -> None:
        member.child.start()
        member.started_at, member.restart_at, member.is_up = time.monotonic(), None, False

    def _watch(self, members: Sequence[Member]) -> None:
        for member in members:
            if member.restart_at is not None:
                if time.monotonic() >= member.restart_at:
                    self._start(member)
            elif not member.child.is_running():
                self._plan_restart(member, _describe_end(member.child))
            elif not self._is_up(member) and self._is_late(member):
                member.child.kill()
                self._plan_restart(member, _describe_delay(member))

    def _is_up(self, member: Member) -> bool:
        """Whether it is ready; the first time that is said."""
        if not member.is_up and member.is_ready():
            member.is_up = True
            self._say(
                f"{member.child.name:<9} ready after {time.monotonic() - member.started_at:.1f} s"
            )
        return member.is_up

    def _is_late(self, member: Member) -> bool:
        return time.monotonic() - member.started_at > member.ready_s

    def _plan_restart(self, member: Member, end: str) -> None:
        """Reports an end, and plans the restart or ends everything."""
        ran_s = time.monotonic() - member.started_at
        member.ends = 1 if member.is_up and ran_s > _SETTLED_S else member.ends + 1
        if member.ends > len(_BACKOFF_S):
            raise CommandError(
                f"{end}\nIt ended {member.ends} times in a row. The others are being stopped."
            )
        delay = _BACKOFF_S[member.ends - 1]
        member.restart_at = time.monotonic() + delay
        again = (
            f"{member.child.name} starts again in {delay:g} s ({member.ends} of at most "
            f"{len(_BACKOFF_S)} times)."
        )
        self._say(f"{end}\n{again}")

    def _pause(self) -> None:
        if self._verbose:
            self._relay_logs()
        time.sleep(_POLL_S)

    def _relay_logs(self) -> None:
        for member in self._members:
            if member.child.pid is not None:
                for line in member.child.new_lines():
                    self._say(f"{member.child.name:<9} | {line}")

    def _stop_all(self) -> None:
        """Ends the children in reverse order, those of one deadline together.

        A second signal does not hurry it.
        """
        for group in _groups(self._members):
            running = [m.child for m in group if m.child.is_running()]
            for child in running:
                child.ask_to_stop()
            deadline = time.monotonic() + max((c.spec.stop_s for c in running), default=0.0)
            for child in running:
                if not child.wait(max(deadline - time.monotonic(), 0.0)):
                    self._say(
                        f"{child.name} did not stop within {child.spec.stop_s:.0f} s and was "
                        f"killed."
                    )
        if self._verbose:
            self._relay_logs()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def ask(number: int, frame: FrameType | None) -> None:
            self._stop_asked = True

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = [signal.signal(n, ask) for n in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)


def _groups(members: Sequence[Member]) -> Iterator[list[Member]]:
    """In reverse order; neighbours of one rank together."""
    group: list[Member] = []
    for member in reversed(members):
        if group and group[-1].rank != member.rank:
            yield group
            group = []
        group.append(member)
    if group:
        yield group


def _describe_end(child: Child) -> str:
    return f"{child.name} {child.describe_end()}.\n{_quote_log(child)}"


def _describe_delay(member: Member) -> str:
    return (
        f"{member.child.name} was not ready after {member.ready_s:.0f} "
        f"s.\n{_quote_log(member.child)}"
    )


def _quote_log(child: Child) -> str:
    lines = child.last_lines()
    heading = f"The end of {child.spec.log}:" if lines else f"It wrote nothing to {child.spec.log}."
    return "\n".join([heading, *(f"  | {line}" for line in lines)])
