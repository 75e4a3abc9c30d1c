"""Slow clients against gunicorn with four threads, over real sockets."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Store
from polyseme.contract.settings import Settings
from tests.client.standins import free_port, wait_until_live
from tests.factories import add_corpus, make_body, make_card, open_job

_HEADER = (
    b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "
    b"application/json\r\nContent-Length: 5000\r\n"
)


@pytest.fixture
def port(settings: Settings, board: Board, store: Store, tmp_path: Path) -> Iterator[int]:
    board.registry.put_card(make_card())
    add_corpus(board, store)
    with running_api(settings, tmp_path) as port:
        yield port


@contextmanager
def running_api(settings: Settings, tmp_path: Path) -> Iterator[int]:
    """With four threads; gives its port."""
    port = free_port()
    (tmp_path / "conf.py").write_text(
        'worker_class = "polyseme.service.http.slow_clients.SlowClientWorker"\nkeepalive = 15\n'
    )
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "polyseme.service.wsgi:app",
        "-c",
        f"file:{tmp_path}/conf.py",
    ]
    with open(tmp_path / "api.log", "wb") as log:
        process = subprocess.Popen(
            [*command, "-w", "1", "--threads", "4", "-b", f"127.0.0.1:{port}"],
            cwd=Path(__file__).parents[3],
            env=os.environ | replace(settings, api_threads=4).to_environ(),
            stdout=log,
            stderr=log,
        )
    try:
        wait_until_live(f"http://127.0.0.1:{port}")
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)


def connect(port: int, stack: ExitStack) -> socket.socket:
    return stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))


def slowest_answer_s(port: int, count: int = 10) -> float:
    """Of requests on connections of their own."""
    times = []
    for _ in range(count):
        began = time.monotonic()
        assert httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=20).status_code == 200
        times.append(time.monotonic() - began)
    return max(times)


def read_all(sock: socket.socket) -> bytes:
    found = b""
    while chunk := sock.recv(65536):
        found += chunk
    return found


def test_headers_that_never_end_hold_no_thread(port: int) -> None:
    with ExitStack() as stack:
        slow = [connect(port, stack) for _ in range(60)]
        for beat in range(4):
            for sock in slow:
                sock.sendall(_HEADER[beat : beat + 1])
            assert slowest_answer_s(port) < 2

        began = time.monotonic()
        with suppress(ConnectionResetError):
            assert slow[0].recv(100) == b""
        assert time.monotonic() - began < 14


def test_bodies_that_never_end_hold_half_of_the_threads_and_for_a_while(port: int) -> None:
    with ExitStack() as stack:
        slow = [connect(port, stack) for _ in range(20)]
        for sock in slow:
            sock.sendall(_HEADER + b'\r\n{"model": ')
        assert slowest_answer_s(port) < 2

        answers = [read_all(sock) for sock in slow]

    statuses = sorted(answer.split(b" ", 2)[1] for answer in answers)
    assert set(statuses) == {b"408", b"503"}
    assert b'"code": "request_timeout"' in b"".join(answers)
    assert all(b"Retry-After" in answer for answer in answers if answer.split(b" ", 2)[1] == b"503")


def test_waits_streams_and_bodies_together_leave_a_thread_to_the_others(
    port: int, board: Board
) -> None:
    path = f"/v1/jobs/{open_job(board).id}"
    wait = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nPrefer: wait=20\r\n\r\n".encode()
    stream = f"GET {path}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    body = _HEADER + b'\r\n{"model": '
    with ExitStack() as stack:
        for message in (wait, stream, *[body] * 10):
            connect(port, stack).sendall(message)

        assert slowest_answer_s(port) < 2


def test_a_client_that_is_slow_within_the_limits_is_served(port: int) -> None:
    body = httpx.Request("POST", "http://x", json=make_body()).read()
    header = _HEADER.replace(b"5000", str(len(body)).encode())
    message = header + b"\r\n" + body
    with ExitStack() as stack:
        sock = connect(port, stack)
        for start in range(0, len(message), 20):
            sock.sendall(message[start : start + 20])
            time.sleep(0.02)
        first = sock.recv(65536)
        sock.sendall(b"GET /liv")  # and a second request on the connection, in two pieces
        time.sleep(0.3)
        sock.sendall(b"ez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        second = read_all(sock)

    assert first.startswith(b"HTTP/1.1 202 ")
    assert b"HTTP/1.1 200 " in second  # after the rest of the first answer


def test_a_large_upload_is_taken(port: int) -> None:
    def chunks() -> Iterator[bytes]:
        for i in range(40):
            yield f"line {i} of a text\n".encode() * 400
            time.sleep(0.01)

    answer = httpx.post(
        f"http://127.0.0.1:{port}/v1/corpora",
        content=chunks(),
        headers={"Content-Type": "text/plain"},
        timeout=30,
    )

    assert answer.status_code == 201, answer.text
    assert answer.json()["documents"] == 40


def test_a_header_beyond_all_limits_is_refused(port: int) -> None:
    with ExitStack() as stack:
        sock = connect(port, stack)
        try:
            sock.sendall(b"GET /livez HTTP/1.1\r\nX-Long: " + b"x" * 200_000 + b"\r\n\r\n")
            answer = read_all(sock)
        except OSError:  # it was refused while it was being sent
            answer = b"HTTP/1.1 400 "

    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))
    assert slowest_answer_s(port, 3) < 2
