"""A receiver of webhooks on a real port, that answers as it is told and keeps what came."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Post:
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes


@dataclass
class Receiver:
    port: int
    posts: list[Post] = field(default_factory=list)
    answers: list[int] = field(
        default_factory=list
    )  # statuses of the next posts; 204 once they are used up
    location: str | None = None
    drip_s: float = 0.0  # between two bytes of an answer that does not end

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@contextmanager
def receiving(host: str = "127.0.0.1") -> Iterator[Receiver]:
    server = ThreadingHTTPServer((host, 0), _Handler)
    server.daemon_threads = True
    receiver = Receiver(server.server_address[1])
    server.receiver = receiver  # type: ignore[attr-defined]
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        receiver: Receiver = self.server.receiver  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        receiver.posts.append(
            Post(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        )
        if receiver.drip_s:
            self._drip(receiver.drip_s)
            return
        self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
        if receiver.location:
            self.send_header("Location", receiver.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.server.receiver.posts.append(Post(self.path, {}, b""))  # type: ignore[attr-defined]
        self.send_error(405)

    def _drip(self, pause_s: float) -> None:
        try:
            while True:
                self.wfile.write(b"H")
                time.sleep(pause_s)
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
