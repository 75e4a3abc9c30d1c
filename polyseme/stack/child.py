"""One supervised process: started with its log in a file, stopped with a deadline.

Knows nothing of what it runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# Imports nothing from the current folder, whatever lies there; PYTHONPATH still counts.
SAFE_PYTHON = (sys.executable, "-P")

_TETHER = str(Path(__file__).with_name("tether.py"))
_ROTATE_BYTES = 16 << 20


@dataclass(frozen=True)
class Spec:
    """How to run a child."""

    name: str  # also its log's: <name>.log
    command: tuple[str, ...]
    environ: Mapping[str, str]  # the whole of it
    folder: Path  # of the log
    stop_s: float = 15.0  # from SIGTERM to SIGKILL
    orphan_signal: signal.Signals = (
        signal.SIGTERM
    )  # what it gets when the supervisor is killed (on Linux)
    keep_open: tuple[int, ...] = ()  # file descriptors it inherits
    nice: int = 0  # 0..19: how far it stands back for other processes when all want the processor

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"


class Child:
    """A process and its log.

    Start it from the thread that lives longest: the tether breaks when that thread ends.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._process: subprocess.Popen[bytes] | None = None
        self._began_at = 0  # byte of the log where this run's lines begin
        self._followed = 0

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Runs the command in a session of its own, so that a terminal's Ctrl-C reaches the
        supervisor alone.
        """
        _rotate(self.spec.log)
        with open(self.spec.log, "ab") as log:
            self._began_at = self._followed = log.tell()
            self._process = subprocess.Popen(
                tethered(self.spec.command, self.spec.orphan_signal),
                env=dict(self.spec.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self.spec.keep_open,
            )
        if self.spec.nice:
            os.setpriority(os.PRIO_PROCESS, self._process.pid, self.spec.nice)

    def is_running(self) -> bool:
        """Once it has ended by itself, what it left behind, such as a process that holds its port,
        is killed.
        """
        if self._process is None:
            return False
        if self._process.returncode is None and _has_ended(self._process.pid):
            # Not waited for yet, so its number and its group's are still its own.
            self._kill_group()
        return self._process.poll() is None

    def describe_end(self) -> str:
        """Its end in words: "exited with code 3", "was killed by SIGKILL"."""
        code = self._process.returncode if self._process else None
        if code is None:
            return "is running" if self._process else "was not started"
        return (
            f"exited with code {code}"
            if code >= 0
            else f"was killed by {signal.Signals(-code).name}"
        )

    def ask_to_stop(self) -> None:
        if self._process and self.is_running():
            self._process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float) -> bool:
        """Waits for its end, then kills it with all it started. True when it ended by itself."""
        if not self._process:
            return True
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        return True

    def kill(self) -> None:
        if self._process and self.is_running():
            self._kill_group()
            self._process.wait()

    def _kill_group(self) -> None:
        assert self._process is not None
        with suppress(
            ProcessLookupError, PermissionError
        ):  # macOS does not permit it where only the dead are left
            os.killpg(self._process.pid, signal.SIGKILL)

    def last_lines(self, count: int = 12) -> list[str]:
        """The end of this run's log."""
        start = max(self._began_at, self.spec.log.stat().st_size - 64_000)
        return _decode(self._read(start)).splitlines()[-count:]

    def new_lines(self) -> list[str]:
        """Whole lines logged since the last call."""
        content = self._read(self._followed)
        whole = content[: content.rfind(b"\n") + 1]
        self._followed += len(whole)
        return _decode(whole).splitlines()

    def _read(self, start: int) -> bytes:
        with open(self.spec.log, "rb") as log:
            log.seek(start)
            return log.read()


def _has_ended(pid: int) -> bool:
    """Whether a child process has ended, which still has to be waited for.

    Not known on macOS before Python 3.13.
    """
    return (
        hasattr(os, "waitid")
        and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    )


def _decode(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def tethered(command: Sequence[str], orphan_signal: signal.Signals = signal.SIGTERM) -> list[str]:
    """The command, so run that the kernel signals it when this process dies.

    Elsewhere than on Linux, as it is.
    """
    if not sys.platform.startswith("linux"):
        return list(command)
    return [
        sys.executable,
        "-I",
        "-S",
        _TETHER,
        str(int(orphan_signal)),
        str(os.getpid()),
        *command,
    ]


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > _ROTATE_BYTES:
        log.replace(log.with_name(log.name + ".1"))
