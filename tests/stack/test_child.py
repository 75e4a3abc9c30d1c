from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from polyseme.stack.child import Child, Spec
from tests.client.standins import is_alive, wait_until


def python(folder: Path, code: str, **options: object) -> Child:
    return Child(Spec("thing", (sys.executable, "-c", code), os.environ, folder, **options))  # type: ignore[arg-type]


def test_its_output_of_both_kinds_is_in_its_log(tmp_path: Path) -> None:
    child = python(tmp_path, "import sys; print('out', flush=True); print('err', file=sys.stderr)")
    child.start()
    assert child.wait(10)
    assert (tmp_path / "thing.log").read_text() == "out\nerr\n"


def test_last_lines_are_of_this_run_only(tmp_path: Path) -> None:
    (tmp_path / "thing.log").write_text("an earlier run\n")
    child = python(tmp_path, "for i in range(30): print('line', i)")
    child.start()
    child.wait(10)
    assert child.last_lines(2) == ["line 28", "line 29"]
    assert "an earlier run" not in child.last_lines(1000)


def test_new_lines_come_whole_and_once(tmp_path: Path) -> None:
    child = python(
        tmp_path,
        "import time; print('é', end='', flush=True); time.sleep(0.5); print('t'); print('b')",
    )
    child.start()
    wait_until(lambda: (tmp_path / "thing.log").stat().st_size > 0)
    half = child.new_lines()
    child.wait(10)
    assert half == []
    assert child.new_lines() == ["ét", "b"]
    assert child.new_lines() == []


def test_its_end_is_told_in_words(tmp_path: Path) -> None:
    failed, killed = (
        python(tmp_path, "raise SystemExit(3)"),
        python(tmp_path, "import time; time.sleep(60)"),
    )
    failed.start()
    failed.wait(10)
    killed.start()
    killed.kill()
    assert failed.describe_end() == "exited with code 3"
    assert killed.describe_end() == "was killed by SIGKILL"
    assert not killed.is_running()


def test_it_stands_back_for_others_as_far_as_asked(tmp_path: Path) -> None:
    child = python(tmp_path, "import time; time.sleep(60)", nice=7)
    child.start()
    assert child.pid is not None
    assert os.getpriority(os.PRIO_PROCESS, child.pid) == 7
    child.kill()


def test_one_that_ignores_sigterm_is_killed_with_what_it_started(tmp_path: Path) -> None:
    code = (
        "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "print(p.pid, flush=True); p.wait()"
    )
    child = python(tmp_path, code)
    child.start()
    wait_until(lambda: (tmp_path / "thing.log").read_text().endswith("\n"))
    grandchild = int((tmp_path / "thing.log").read_text())
    child.ask_to_stop()
    assert not child.wait(0.3)
    assert child.describe_end() == "was killed by SIGKILL"
    wait_until(lambda: not is_alive(grandchild))


def test_what_one_leaves_behind_when_it_dies_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys;"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "print(p.pid, flush=True); os._exit(3)"
    )
    child = python(tmp_path, code)
    child.start()
    wait_until(lambda: not child.is_running())
    left_behind = int((tmp_path / "thing.log").read_text())
    wait_until(lambda: not is_alive(left_behind))
    assert child.describe_end() == "exited with code 3"


def test_a_large_log_is_set_aside_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "thing.log").write_bytes(b"x" * ((16 << 20) + 1))
    child = python(tmp_path, "print('new')")
    child.start()
    child.wait(10)
    assert (tmp_path / "thing.log").read_text() == "new\n"
    assert (tmp_path / "thing.log.1").stat().st_size > 16 << 20


def test_the_tether_gives_the_signal_asked_for(tmp_path: Path) -> None:
    # A parent that starts a tethered child and is killed.
    code = f"""
import os, signal, sys
from pathlib import Path
from polyseme.stack.child import Child, Spec
script = '''
import signal, sys, time
def note(*_):
    print("got the signal", flush=True); sys.exit()
signal.signal(signal.SIGUSR1, note)
print("listening", flush=True)
time.sleep(30)
'''
child = Child(Spec("tethered", (sys.executable, "-c", script), os.environ, Path({str(tmp_path)!r}),
                   orphan_signal=signal.SIGUSR1))
child.start()
while "listening" not in child.last_lines(): pass
os.kill(os.getpid(), signal.SIGKILL)
"""
    parent = python(tmp_path, code)
    parent.start()
    parent.wait(20)
    wait_until(lambda: "got the signal" in (tmp_path / "tethered.log").read_text())
    assert parent.describe_end() == f"was killed by {signal.SIGKILL.name}"
