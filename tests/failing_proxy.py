"""A TCP proxy in front of an HTTP server that fails: it answers 503, or resets the connection."""

from __future__ import annotations

import random
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_PIECE = 1 << 16
_BODY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Slow down.</Message></Error>"
_BUSY = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: " + str(len(_BODY)).encode() + b"\r\n\r\n" + _BODY
)
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


class FailingProxy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, url: str, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        target = urlsplit(url)
        assert target.hostname
        assert target.port
        self.target = (target.hostname, target.port)
        self.is_failing = threading.Event()
        self.failures = {"503": 0, "reset": 0}
        self._random = random.Random(seed)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    @classmethod
    @contextmanager
    def running(cls, url: str, seed: int) -> Iterator[FailingProxy]:
        with cls(url, seed) as proxy:
            threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
            try:
                yield proxy
            finally:
                proxy.shutdown()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Connections that are open are reset; of new ones, half get 503 and half a reset."""
        self.is_failing.set()
        with self._lock:
            for connection in self._open:
                reset(connection)
        try:
            yield
        finally:
            self.is_failing.clear()

    def fail(self, connection: socket.socket) -> None:
        with self._lock:
            how = self._random.choice(sorted(self.failures))
            self.failures[how] += 1
        with suppress(OSError):
            connection.settimeout(2)
            connection.recv(_PIECE)
            if how == "503":
                connection.sendall(_BUSY)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(_PIECE):  # what is not read would make a reset of it
                    pass
            else:
                reset(connection)

    def note(self, connection: socket.socket, *, is_open: bool) -> None:
        with self._lock:
            (self._open.add if is_open else self._open.discard)(connection)


class _Passing(socketserver.BaseRequestHandler):
    server: FailingProxy

    def handle(self) -> None:
        if self.server.is_failing.is_set():
            self.server.fail(self.request)
            return
        with suppress(OSError), socket.create_connection(self.server.target) as target:
            self.server.note(self.request, is_open=True)
            back = threading.Thread(target=_pass, args=(target, self.request), daemon=True)
            back.start()
            _pass(self.request, target)
            back.join()
        self.server.note(self.request, is_open=False)


def _pass(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.shutdown(socket.SHUT_RD)  # wakes who reads from it
        connection.close()
