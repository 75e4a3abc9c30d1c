"""The proxy that stands for a bucket's bad minute."""

from __future__ import annotations

import http.server
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


def test_it_passes_on_then_fails_either_way_and_passes_on_again(proxy: FailingProxy) -> None:
    seen = []
    with httpx.Client(base_url=proxy.url, trust_env=False, timeout=5) as http:
        before = http.get("/").text
        with proxy.failing():
            for _ in range(20):
                try:
                    seen.append(str(http.get("/").status_code))
                except httpx.TransportError:
                    seen.append("reset")
        after = http.get("/").text

    assert (before, after) == ("fine", "fine")
    assert set(seen) == {"503", "reset"}
    assert {name: seen.count(name) for name in seen} == proxy.failures
