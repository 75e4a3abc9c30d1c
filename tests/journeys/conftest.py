"""The whole service in its own processes:

Redis, gunicorn and workers under `polyseme up`, with a tiny model.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from polyseme import Polyseme
from tests.client.standins import free_port
from tests.nursery import Nursery
from tests.tiny_models import LAYERS, save_model, spoil_neurons

MODEL = "tiny"
BROKEN = "tiny-broken"


@dataclass(frozen=True)
class Stack:
    url: str
    data: Path

    def worker_pids(self) -> list[int]:
        """The workers of this stack that run now."""
        return sorted(
            int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and self._is_worker(p)
        )

    def _is_worker(self, process: Path) -> bool:
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            environ = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            return False
        return (
            b"polyseme.workers" in command
            and f"POLYSEME_STORE={self.data.resolve()}/store".encode() in environ
        )


@contextmanager
def running_stack(data: Path, *, workers: int, **settings: object) -> Iterator[Stack]:
    """`polyseme up` on a free port until the block ends.

    `settings`: fields of contract.settings.Settings.
    """
    port = free_port()
    environ = dict(os.environ) | {f"POLYSEME_{k.upper()}": str(v) for k, v in settings.items()}
    environ["OMP_NUM_THREADS"] = "1"
    command = [
        sys.executable,
        "-m",
        "polyseme",
        "up",
        "--port",
        str(port),
        "--data",
        str(data),
    ]
    command += ["--workers", str(workers)]
    with (
        open(data / "up.log", "wb") as log,
        subprocess.Popen(command, env=environ, stdout=log, stderr=log) as process,
    ):
        try:
            _await_ready(data / "up.log", process)
            yield Stack(f"http://127.0.0.1:{port}", data)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(180)


def _await_ready(log: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 360
    while time.monotonic() < deadline:
        if re.search(r"(?m)^Ready:", log.read_text()):
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError(f"the stack is not ready:\n{log.read_text()}")


def prepare_data(folder: Path, *, layers: int = 3) -> Path:
    """A data folder whose catalogue lists a tiny model."""
    folder.mkdir(parents=True)
    entry = save_model("llama", folder / "model", num_hidden_layers=layers)
    (folder / "models.toml").write_text(
        f'[[models]]\nid = "{MODEL}"\npath = "{entry.location}"\n', encoding="utf-8"
    )
    return folder


def add_broken_model(data: Path) -> None:
    """Lists another one, whose last layer has two neurons with weights that are not finite."""
    entry = save_model("llama", data / "broken")
    spoil_neurons(data / "broken", LAYERS - 1, (5, 7))
    with (data / "models.toml").open("a", encoding="utf-8") as catalogue:
        catalogue.write(f'[[models]]\nid = "{BROKEN}"\npath = "{entry.location}"\n')


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with Nursery.running() as found:
        yield found


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    data = prepare_data(tmp_path_factory.mktemp("stack") / "data")
    add_broken_model(data)
    with running_stack(
        data, workers=2, shard_tokens=2000, lease_s=4, webhook_allow="127.0.0.1"
    ) as found:
        yield found


@pytest.fixture
def client(stack: Stack) -> Iterator[Polyseme]:
    with Polyseme(stack.url) as client:
        yield client
