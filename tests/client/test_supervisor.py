from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from client.child import Child, Spec
from client.errors import CommandError
from client.supervisor import Member, Supervisor
from tests.client.standins import is_alive

_PATIENT = (
    "import time, sys, signal; signal.signal(signal.SIGTERM, lambda *_: (print('bye'), sys.exit())); time.sleep(60)"
)
_STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
)


def member(folder: Path, name: str, code: str, *, ready_s: float = 5.0, stop_s: float = 5.0, **options: bool) -> Member:
    """Ready once it has logged anything, or at once."""
    child = Child(Spec(name, (sys.executable, "-c", code), os.environ, folder, stop_s=stop_s))
    waits = options.get("waits", False)
    return Member(
        child, lambda: not waits or bool(child.last_lines()), ready_s=ready_s, restarts=options.get("restarts", False)
    )


def signal_soon(after_s: float) -> None:
    threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGTERM)).start()


def test_children_stop_in_reverse_order(tmp_path: Path) -> None:
    said: list[str] = []
    # Its end is visible in the time of its last line.
    code = (
        "import time, sys, signal; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.2), print(time.time()),"
        "sys.exit())); print('up', flush=True); time.sleep(60)"
    )
    members = [member(tmp_path, name, code, waits=True) for name in ("first", "second", "third")]
    Supervisor(members, said.append).run(lambda: signal_soon(0.0))
    ends = [float(m.child.last_lines()[-1]) for m in members]
    assert ends == sorted(ends, reverse=True)
    assert [line.split()[0] for line in said] == ["first", "second", "third"]


def test_one_that_does_not_stop_is_killed_after_its_deadline(tmp_path: Path) -> None:
    said: list[str] = []
    stubborn = member(tmp_path, "stubborn", _STUBBORN, waits=True, stop_s=0.3)
    Supervisor([stubborn], said.append).run(lambda: signal_soon(0.0))
    assert said[-1] == "stubborn did not stop within 0 s and was killed."
    assert stubborn.child.cause_of_death() == "was killed by SIGKILL"


def test_one_that_is_never_ready_ends_everything(tmp_path: Path) -> None:
    first = member(tmp_path, "first", _PATIENT)
    silent = member(tmp_path, "silent", "import time; time.sleep(60)", waits=True, ready_s=0.3)
    with pytest.raises(CommandError, match="silent was not ready after 0 s"):
        Supervisor([first, silent], lambda _: None).run()
    assert not first.child.is_running()
    assert not silent.child.is_running()


def test_a_signal_during_the_start_stops_what_has_started(tmp_path: Path) -> None:
    first = member(tmp_path, "first", _PATIENT)
    slow = member(tmp_path, "slow", "import time; time.sleep(60)", waits=True, ready_s=30)
    never = member(tmp_path, "never", _PATIENT)
    signal_soon(0.5)
    Supervisor([first, slow, never], lambda _: None).run()
    assert not first.child.is_running()
    assert never.child.pid is None


def test_restarts_back_off(tmp_path: Path) -> None:
    said: list[str] = []
    crasher = member(tmp_path, "crasher", "print('a reason'); raise SystemExit(7)", restarts=True)
    signal_soon(2.5)
    Supervisor([crasher], said.append).run()
    deaths = [text for text in said if "exited with code 7" in text]
    assert [text.splitlines()[-1] for text in deaths] == [
        "crasher starts again in 1 s.",
        "crasher starts again in 2 s.",
    ]
    assert "  | a reason" in deaths[0]


def test_verbose_passes_the_logs_on(tmp_path: Path) -> None:
    said: list[str] = []
    talker = member(tmp_path, "talker", "import time; print('hello', flush=True); time.sleep(60)", waits=True)
    Supervisor([talker], said.append, verbose=True).run(lambda: signal_soon(0.3))
    assert "talker    | hello" in said


def test_signal_handlers_are_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    Supervisor([member(tmp_path, "one", _PATIENT)], lambda _: None).run(lambda: signal_soon(0.0))
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_error_when_ready_still_stops_the_children(tmp_path: Path) -> None:
    one = member(tmp_path, "one", _PATIENT)

    def fail() -> None:
        raise CommandError("the sample could not be uploaded")

    began = time.monotonic()
    with pytest.raises(CommandError, match="could not be uploaded"):
        Supervisor([one], lambda _: None).run(fail)
    assert one.child.pid is not None
    assert not is_alive(one.child.pid)
    assert time.monotonic() - began < 5
