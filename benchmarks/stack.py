"""The whole service in a folder of its own, as `polyseme up` runs it, with workers of one
thread.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polyseme import ClientError, Polyseme
from polyseme.errors import CommandError

HOST = "127.0.0.1"
START_S = 180.0  # for the stack; the model may have to be converted


@contextmanager
def running_stack(data: Path, model: str, *options: str, **variables: str) -> Iterator[int]:
    """Runs until the block ends. Gives its port, once a worker is there and the model is ready.

    options: of `polyseme up`; variables: of its environment. Raises CommandError with the stack's
    log when it is not ready in time.
    """
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "polyseme",
        "up",
        "--host",
        HOST,
        "--port",
        str(port),
        "--data",
        str(data),
    ]
    environ = dict(os.environ) | {"POLYSEME_THREADS": "1", "OMP_NUM_THREADS": "1"} | variables
    with (
        open(data / "up.log", "wb") as log,
        subprocess.Popen([*command, *options], env=environ, stdout=log, stderr=log) as process,
    ):
        try:
            _await_model(port, model, process, data / "up.log")
            yield port
        finally:
            process.terminate()
            process.wait()


def free_port() -> int:
    with socket.socket() as s:
        s.bind((HOST, 0))
        return int(s.getsockname()[1])


def _await_model(port: int, model: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    with Polyseme(f"http://{HOST}:{port}", patience_s=0) as client:
        while time.monotonic() < deadline and process.poll() is None:
            if _is_ready(client, model):
                return
            time.sleep(0.25)
    raise CommandError(f"The service is not ready:\n{log.read_text(encoding='utf-8')}")


def _is_ready(client: Polyseme, model: str) -> bool:
    try:
        states = [m.state for m in client.models() if m.id == model]
        return bool(client.readiness()["workers"]) and states == ["ready"]
    except ClientError:
        return False
