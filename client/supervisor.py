"""Starts children in order, watches them, and stops them in reverse. Knows nothing of what they are."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from client.child import Child
from client.errors import CommandError

_POLL_S = 0.05
_SETTLED_S = 60.0  # a child that ran this long starts its backoff afresh
_BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)


@dataclass
class Member:
    """A child and how it is kept."""

    child: Child
    is_ready: Callable[[], bool]  # quick, never raises
    ready_s: float  # from start to ready, at most
    restarts: bool  # after a death it is started again; otherwise its death ends everything
    started_at: float = 0.0  # seconds of the monotonic clock; so is the next
    restart_at: float | None = None
    quick_deaths: int = 0


class Supervisor:
    """Runs in the main thread, since it takes the signals SIGINT, SIGTERM and SIGHUP while it runs."""

    def __init__(self, members: Sequence[Member], say: Callable[[str], None], *, verbose: bool = False) -> None:
        self._members = members
        self._say = say
        self._verbose = verbose
        self._stop_asked = False

    def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Returns after a signal, once every child has ended. Raises CommandError when the stack cannot go on."""
        with self._signals():
            try:
                for member in self._members:
                    self._bring_up(member)
                if not self._stop_asked:
                    on_ready()
                while not self._stop_asked:
                    self._watch()
                    self._pause()
            finally:
                self._stop_all()

    def _bring_up(self, member: Member) -> None:
        """Starts a child and waits until it is ready or a signal comes."""
        if self._stop_asked:
            return
        self._start(member)
        while not self._stop_asked and not member.is_ready():
            if not member.child.is_running():
                raise CommandError(f"{_describe_death(member.child)}\nIt did not get ready; nothing is left running.")
            if time.monotonic() - member.started_at > member.ready_s:
                raise CommandError(
                    f"{member.child.name} was not ready after {member.ready_s:.0f} s.\n{_quote_log(member.child)}"
                )
            self._pause()
        if not self._stop_asked:
            self._say(f"{member.child.name:<9} ready after {time.monotonic() - member.started_at:.1f} s")

    def _start(self, member: Member) -> None:
        member.child.start()
        member.started_at, member.restart_at = time.monotonic(), None

    def _watch(self) -> None:
        for member in self._members:
            if member.restart_at is not None:
                if time.monotonic() >= member.restart_at:
                    self._start(member)
            elif not member.child.is_running():
                self._bury(member)

    def _bury(self, member: Member) -> None:
        """Reports a death, and plans the restart or ends everything."""
        death = _describe_death(member.child)
        if not member.restarts:
            raise CommandError(f"{death}\nThe others are being stopped: nothing works without it.")
        ran_s = time.monotonic() - member.started_at
        member.quick_deaths = 0 if ran_s > _SETTLED_S else member.quick_deaths + 1
        delay = _BACKOFF_S[min(max(member.quick_deaths - 1, 0), len(_BACKOFF_S) - 1)]
        member.restart_at = time.monotonic() + delay
        self._say(f"{death}\n{member.child.name} starts again in {delay:.0f} s.")

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
        """Ends the children in reverse order, those of one deadline together. A second signal does not hurry it."""
        for group in _groups(self._members):
            running = [m.child for m in group if m.child.is_running()]
            for child in running:
                child.ask_to_stop()
            deadline = time.monotonic() + max((c.spec.stop_s for c in running), default=0.0)
            for child in running:
                if not child.wait(max(deadline - time.monotonic(), 0.0)):
                    self._say(f"{child.name} did not stop within {child.spec.stop_s:.0f} s and was killed.")
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
    """In reverse order; neighbours that restart (the workers) stop together."""
    group: list[Member] = []
    for member in reversed(members):
        if group and not (group[-1].restarts and member.restarts):
            yield group
            group = []
        group.append(member)
    if group:
        yield group


def _describe_death(child: Child) -> str:
    return f"{child.name} {child.cause_of_death()}.\n{_quote_log(child)}"


def _quote_log(child: Child) -> str:
    lines = child.last_lines()
    heading = f"The end of {child.spec.log}:" if lines else f"It wrote nothing to {child.spec.log}."
    return "\n".join([heading, *(f"  | {line}" for line in lines)])
