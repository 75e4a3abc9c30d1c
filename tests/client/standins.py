"""Small processes in place of the API and the worker, so that a test of the supervisor takes no model."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 3  # machines that others use too may be a third as fast

_WSGI = """
import os
def app(environ, start_response):
    if environ["PATH_INFO"] == "/die":
        os.kill(os.getppid(), 9)
    # The demo, if it asks, hears of a service that is not ready.
    ready = environ["PATH_INFO"] == "/readyz"
    start_response("503 Busy" if ready else "200 OK", [("Content-Type", "application/json")])
    return [b'{"status": "unready", "workers": 0}' if ready else str(os.getppid()).encode()]
"""
_WORKER = """
import os, signal, sys, time
from redis import RedisError
from contract.board import Board, worker_name
from contract.settings import Settings
print("a worker, process", os.getpid(), flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
board = Board.connect(Settings.from_environ(os.environ).redis_url)
while True:
    try:
        board.announce_worker(worker_name(os.getpid()), ttl_s=2)
    except RedisError:
        pass  # as the real one: it waits
    time.sleep(0.1)
"""


_SENDER = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.pause()
"""


def write_standins(folder: Path) -> Path:
    """Packages named `service` and `workers`, that `python -m` finds in the folder before the real ones."""
    files = (("service", "wsgi.py", _WSGI), ("workers", "__main__.py", _WORKER), ("service", "sender.py", _SENDER))
    for package, name, text in files:
        (folder / package).mkdir(parents=True, exist_ok=True)
        (folder / package / "__init__.py").touch()
        (folder / package / name).write_text(text)
    return folder


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def wait_until_live(url: str) -> str:
    """The URL, once an API answers there."""
    for _ in range(300):
        try:
            httpx.get(f"{url}/livez", timeout=5)
            return url
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("gunicorn did not come up")


def run_polyseme(arguments: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "client.cli", *arguments],
        cwd=cwd,
        env=_environ(),
        capture_output=True,
        text=True,
        timeout=180,
    )


@contextmanager
def running_polyseme(arguments: Sequence[str], cwd: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "client.cli", *arguments],
        cwd=cwd,
        env=_environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(30)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """The output up to the line that has the text. Fails when the process ends before."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} did not come; this did:\n{seen}")


def wait_until(is_so: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + PATIENCE * seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to be in time"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _environ() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k != "REDIS_URL" and not k.startswith("POLYSEME_")}
    return kept | {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
