"""Small processes in place of the API and the worker, so that a test of the supervisor takes no
model.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from polyseme.stack.child import SAFE_PYTHON

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
from polyseme.contract.board.board import Board
from polyseme.contract.board.workers import worker_name
from polyseme.contract.settings import Settings
print("a worker, process", os.getpid(), flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
board = Board.connect(Settings.from_environ(os.environ).redis_url)
while True:
    try:
        board.workers.announce(worker_name(os.getpid()), ttl_s=2)
    except RedisError:
        pass  # as the real one: it waits
    time.sleep(0.1)
"""
_WORKER_CLASS = """
from gunicorn.workers.gthread import ThreadWorker as SlowClientWorker
"""
_LOG_CLASS = """
from gunicorn.glogging import Logger as ServerLog
"""
_SENDER = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.pause()
"""


def write_standins(folder: Path) -> Path:
    """Sources to run from: the real `polyseme`, but for the service and the workers."""
    package = folder / "polyseme"
    package.mkdir(parents=True)
    for path in (REPOSITORY / "polyseme").iterdir():
        if path.name not in ("service", "workers", "__pycache__"):
            (package / path.name).symlink_to(path.resolve())
    files = {
        "service/wsgi.py": _WSGI,
        "service/http/slow_clients.py": _WORKER_CLASS,
        "service/http/server_log.py": _LOG_CLASS,
        "service/webhooks/sender.py": _SENDER,
        "workers/__main__.py": _WORKER,
    }
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
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


def run_polyseme(
    arguments: Sequence[str], cwd: Path, sources: Path = REPOSITORY
) -> subprocess.CompletedProcess[str]:
    """sources: the folder whose `polyseme` is run; see `write_standins`."""
    return subprocess.run(
        [*SAFE_PYTHON, "-m", "polyseme", *arguments],
        cwd=cwd,
        env=safe_environ(sources),
        capture_output=True,
        text=True,
        timeout=180,
    )


@contextmanager
def running_polyseme(
    arguments: Sequence[str], cwd: Path, sources: Path = REPOSITORY
) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*SAFE_PYTHON, "-m", "polyseme", *arguments],
        cwd=cwd,
        env=safe_environ(sources),
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


def safe_environ(sources: Path = REPOSITORY) -> dict[str, str]:
    """Without what would lead the command to another service; with the sources to run."""
    kept = {
        k: v for k, v in os.environ.items() if k != "REDIS_URL" and not k.startswith("POLYSEME_")
    }
    return kept | {"PYTHONPATH": str(sources), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
