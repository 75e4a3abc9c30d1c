"""The proxy that stands for a bucket's bad minute."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.failing_proxy import FailingProxy


class Fine(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"fine")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[FailingProxy]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fine) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        with FailingProxy.running(f"http://127.0.0.1:{server.server_address[1]}", 1) as found:
            yield found
        server.shutdown()


def get(url: str) -> str:
    """What a request on a connection of its own saw: a status, or a reset."""
    try:
        return str(httpx.get(url, trust_env=False, timeout=5).status_code)
    except httpx.TransportError:
        return "reset"


def test_it_passes_on_then_fails_either_way_and_passes_on_again(proxy: FailingProxy) -> None:
    before = get(proxy.url)
    with proxy.failing():
        seen = [get(proxy.url) for _ in range(20)]
    after = get(proxy.url)

    assert (before, after) == ("200", "200")
    assert set(seen) == {"503", "reset"}
    assert {name: seen.count(name) for name in seen} == proxy.failures


def test_a_connection_that_was_open_is_reset(proxy: FailingProxy) -> None:
    with socket.create_connection(proxy.server_address[:2], timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        with proxy.failing(), pytest.raises(ConnectionResetError):
            connection.recv(1 << 16)
