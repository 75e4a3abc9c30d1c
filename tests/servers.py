"""A Redis-protocol server of a test's own, that may be killed, stopped and started again on the
same data.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import redis

from tests.conftest import find_embedded_server, find_redis_server

_OPTIONS = {
    "port": "0",
    "save": "",
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
}


class RedisServer:
    def __init__(
        self, folder: str, options: dict[str, str], environ: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self._environ = dict(os.environ) | dict(environ or {})
        # Debian's does not start with libfaketime: its allocator asks for the time too early.
        self._program = find_embedded_server() if environ else find_redis_server()
        self._socket = f"{folder}/redis.sock"
        self._options = _OPTIONS | {"unixsocket": self._socket, "dir": folder} | options
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextmanager
    def running(
        cls, environ: Mapping[str, str] | None = None, **options: str
    ) -> Iterator[RedisServer]:
        """environ: of its process, beside what this one has."""
        # A unix socket's path may have about 100 characters, so not under pytest's own folder.
        with tempfile.TemporaryDirectory(prefix="ps-") as folder:
            server = cls(folder, options, environ)
            server.start()
            try:
                yield server
            finally:
                server.kill()

    @property
    def url(self) -> str:
        return f"unix://{self._socket}?db=0"

    def start(self) -> None:
        """Returns once it has read its file and answers."""
        command = [
            self._program,
            *(part for k, v in self._options.items() for part in (f"--{k}", v)),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=self._environ)
        deadline = time.monotonic() + 90
        while True:
            try:
                redis.Redis(unix_socket_path=self._socket).ping()
                return
            except (redis.ConnectionError, redis.TimeoutError):
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.02)

    def kill(self) -> None:
        """With -9, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It is there, but does not answer."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def cut_connections(self) -> int:
        """Closes every client's connection; returns how many there were."""
        with redis.Redis(unix_socket_path=self._socket) as client:
            return int(client.client_kill_filter(skipme=True, _type="normal"))

    def run_python(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """A Python process that is to use this server, and ends by itself."""
        variables = {**os.environ, "REDIS_URL": self.url, "POLYSEME_REDIS_URL": self.url, **environ}
        return subprocess.run(
            [sys.executable, *arguments],
            env=variables,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=360,
        )
