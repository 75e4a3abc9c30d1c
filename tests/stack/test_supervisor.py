from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from polyseme.errors import CommandError
from polyseme.stack import supervisor
from polyseme.stack.child import Child, Spec
from polyseme.stack.supervisor import Member, Supervisor
from tests.client.standins import is_alive

_PATIENT = (
    "import time, sys, signal; signal.signal(signal.SIGTERM, lambda *_: (print('bye'), "
    "sys.exit())); time.sleep(60)"
)
_STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', "
    "flush=True); time.sleep(60)"
)


def member(
    folder: Path,
    name: str,
    code: str,
    *,
    ready_s: float = 5.0,
    stop_s: float = 5.0,
    waits: bool = False,
    rank: int = 0,
) -> Member:
    """Ready once it has logged anything, or at once."""
    child = Child(Spec(name, (sys.executable, "-c", code), os.environ, folder, stop_s=stop_s))
    return Member(child, lambda: not waits or bool(child.last_lines()), ready_s=ready_s, rank=rank)


def signal_soon(after_s: float) -> None:
    threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGTERM)).start()


def test_children_stop_in_reverse_order(tmp_path: Path) -> None:
    said: list[str] = []
    # Its end is visible in the time of its last line.
    code = (
        "import time, sys, signal; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.2), "
        "print(time.time()),"
        "sys.exit())); print('up', flush=True); time.sleep(60)"
    )
    members = [
        member(tmp_path, name, code, waits=True, rank=i)
        for i, name in enumerate(("first", "second", "third"))
    ]
    Supervisor(members, said.append).run(lambda: signal_soon(0.0))
    ends = [float(m.child.last_lines()[-1]) for m in members]
    assert ends == sorted(ends, reverse=True)
    assert [line.split()[0] for line in said] == ["first", "second", "third"]


def test_one_that_does_not_stop_is_killed_after_its_deadline(tmp_path: Path) -> None:
    said: list[str] = []
    stubborn = member(tmp_path, "stubborn", _STUBBORN, waits=True, stop_s=0.3)
    Supervisor([stubborn], said.append).run(lambda: signal_soon(0.0))
    assert said[-1] == "stubborn did not stop within 0 s and was killed."
    assert stubborn.child.describe_end() == "was killed by SIGKILL"


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
    crasher = member(tmp_path, "crasher", "print('a reason'); raise SystemExit(7)")
    signal_soon(2.5)
    Supervisor([crasher], said.append).run()
    deaths = [text for text in said if "exited with code 7" in text]
    assert [text.splitlines()[-1] for text in deaths] == [
        "crasher starts again in 1 s (1 of at most 8 times).",
        "crasher starts again in 2 s (2 of at most 8 times).",
    ]
    assert "  | a reason" in deaths[0]


def test_one_that_keeps_dying_ends_everything_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_BACKOFF_S", (0.1, 0.2))
    said: list[str] = []
    other = member(tmp_path, "other", _PATIENT)
    crasher = member(tmp_path, "crasher", "print('a reason', flush=True); raise SystemExit(7)")
    with pytest.raises(
        CommandError, match=r"exited with code 7(.|\n)*a reason(.|\n)*ended 3 times in a row"
    ):
        Supervisor([other, crasher], said.append).run()
    assert [text.splitlines()[-1] for text in said if "starts again" in text] == [
        "crasher starts again in 0.1 s (1 of at most 2 times).",
        "crasher starts again in 0.2 s (2 of at most 2 times).",
    ]
    assert not other.child.is_running()


def test_deaths_of_one_that_had_settled_are_not_added_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_BACKOFF_S", (0.05,))
    monkeypatch.setattr(supervisor, "_SETTLED_S", 0.1)
    said: list[str] = []
    short_lived = member(tmp_path, "short", "import time; time.sleep(0.3)")
    signal_soon(3.0)
    Supervisor([short_lived], said.append).run()
    assert sum("starts again" in text for text in said) >= 3


def test_one_that_does_not_get_ready_again_is_killed_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_BACKOFF_S", (0.05,))
    # It is ready the first time, then it hangs.
    code = (
        "import os, time; os.path.exists('{0}') or (open('{0}', 'w'), print('up', "
        "flush=True), os.kill(os.getpid(), 9))"
    )
    child = member(
        tmp_path,
        "hanging",
        f"{code.format(tmp_path / 'mark')}; time.sleep(60)",
        waits=True,
        ready_s=0.5,
    )
    said: list[str] = []
    with pytest.raises(CommandError, match="hanging was not ready after 0 s"):
        Supervisor([child], said.append).run()
    assert "hanging was killed by SIGKILL" in said[1]
    assert not child.child.is_running()


def test_one_that_dies_while_another_starts_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_BACKOFF_S", (0.05,) * 8)
    said: list[str] = []
    first = member(tmp_path, "first", "import time; time.sleep(0.6)")
    slow = member(
        tmp_path,
        "slow",
        "import time; time.sleep(1.5); print('up', flush=True); time.sleep(60)",
        waits=True,
    )
    Supervisor([first, slow], said.append).run(lambda: signal_soon(0.0))
    assert "first exited with code 0." in said[1]
    assert said[2].startswith("first     ready")


def test_verbose_passes_the_logs_on(tmp_path: Path) -> None:
    said: list[str] = []
    talker = member(
        tmp_path, "talker", "import time; print('hello', flush=True); time.sleep(60)", waits=True
    )
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


def test_what_a_slow_start_does_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_SLOW_S", 0.1)
    said: list[str] = []
    code = "import time; time.sleep(0.5); print('up', flush=True); time.sleep(60)"
    slow = member(tmp_path, "slow", code, waits=True)
    slow.slow_note = "is describing the models …"

    Supervisor([slow], said.append).run(lambda: signal_soon(0.0))

    assert said[0] == "slow      is describing the models …"
    assert said[1].startswith("slow      ready after")
