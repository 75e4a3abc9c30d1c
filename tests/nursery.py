"""Real worker processes in a tenth of a second: forked from a process that has imported torch and
the compiled kernels.

`python -m tests.nursery` reads a JSON request a line and answers each with a line: {"start":
{"environ", "log"}} with the process id, {"poll": pid} with its exit code or null. It kills its
workers when its input ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1  # of Linux: a worker dies with the nursery


class Nursery:
    """The other side of the pipe."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Nursery]:
        command = [sys.executable, "-m", "tests.nursery"]
        root = str(Path(__file__).parents[1])
        # After a fork neither torch's threads nor numba's OpenMP would be there.
        environ = dict(os.environ) | {"OMP_NUM_THREADS": "1", "NUMBA_THREADING_LAYER": "workqueue"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(
            command, **pipes, text=True, cwd=root, env=environ, start_new_session=True
        ) as process:
            yield cls(process)

    def start(self, environ: Mapping[str, str], log: Path) -> int:
        """The process id of a new worker."""
        return int(self._ask({"start": {"environ": dict(environ), "log": str(log)}}))

    def poll(self, pid: int) -> int | None:
        """The exit code of a worker, negative for a signal; None while it runs."""
        code: int | None = self._ask({"poll": pid})
        return code

    def _ask(self, request: Mapping[str, Any]) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def _serve() -> None:
    # What takes long. The kernels are loaded when they are first called.
    import polyseme.workers.worker
    from polyseme.workers.analysis import warm_up

    assert polyseme.workers.worker
    warm_up.main()
    codes: dict[int, int | None] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            pid = _start(**request["start"])
            codes[pid] = None
            answer: int | None = pid
        else:
            answer = codes[request["poll"]] = _poll(request["poll"], codes)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in codes:
        if _poll(pid, codes) is None:
            os.kill(pid, signal.SIGKILL)


def _start(environ: dict[str, str], log: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number, target in ((os.open(os.devnull, os.O_RDONLY), 0), (file, 1), (file, 2)):
            os.dup2(number, target)
        os.environ.update(environ)
        from polyseme.workers.__main__ import main
        from tests.sabotage import prepare

        prepare(os.environ)
        code = main()
    except BaseException as e:
        sys.stderr.write(f"the worker ended with {e!r}\n")
        code = e.code if isinstance(e, SystemExit) and isinstance(e.code, int) else 1
    finally:
        sys.stderr.flush()
        os._exit(code)


def _poll(pid: int, codes: Mapping[int, int | None]) -> int | None:
    if codes[pid] is not None:
        return codes[pid]
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


if __name__ == "__main__":
    _serve()
