"""Strangers and bombs at the door of one API with four threads: none holds the others up."""

from __future__ import annotations

import gzip
import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace

import httpx
import pytest
import redis

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Store
from tests.factories import add_corpus, make_body, make_card
from tests.service.conftest import make_settings
from tests.service.http.test_slow_clients import (
    connect,
    read_all,
    running_api,
    slowest_answer_s,
)


@pytest.fixture(scope="module")
def port(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    redis.Redis.from_url(redis_server).flushall()
    folder, board = tmp_path_factory.mktemp("door"), Board.connect(redis_server)
    settings = replace(make_settings(redis_server, folder), upload_bytes=1 << 26)
    board.registry.put_card(make_card())
    add_corpus(board, Store(settings.store))
    with running_api(settings, folder) as port:
        yield port


def post_bomb(port: int, body: bytes, query: str = "format=text") -> httpx.Response:
    return httpx.post(
        f"http://127.0.0.1:{port}/v1/corpora?{query}",
        content=body,
        headers={"Content-Type": "application/gzip"},
        timeout=60,
    )


def is_live_within(port: int, seconds: float) -> bool:
    """Whether /livez answers in time, each of five times, on a connection of its own."""
    for _ in range(5):
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), timeout=seconds) as sock:
            sock.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            if not sock.recv(100).startswith(b"HTTP/1.1 200 "):
                return False
        if time.monotonic() - began > seconds:
            return False
    return True


def test_clients_that_read_nothing_hold_no_thread(port: int) -> None:
    asked = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: identity\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(20):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            sock.connect(("127.0.0.1", port))
            sock.sendall(asked * 12)
        time.sleep(0.5)

        assert is_live_within(port, 2)
        assert slowest_answer_s(port) < 2
        # Whoever reads late gets all of it.
        sock.settimeout(10)
        found = b""
        while found.count(b"HTTP/1.1 200 ") < 3:
            found += sock.recv(1 << 16)


def test_whoever_sends_all_of_a_refused_body_reads_the_answer(port: int) -> None:
    with ExitStack() as stack:
        sock = connect(port, stack)
        sock.sendall(
            b"POST /v1/nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4000000\r\n\r\n"
        )
        for _ in range(99):
            sock.sendall(b" " * 40_000)
        # The last of it comes behind the answer, or the connection might go on.
        assert select.select([sock], [], [], 10)[0]
        sock.sendall(b" " * 40_000)
        answer = read_all(sock)

    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"Connection: close" in answer
    assert answer.count(b"HTTP/1.1 ") == 1  # the body is no second request


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(
            b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", id="kept open"
        ),
        pytest.param(b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n", id="body"),
        pytest.param(b"GET /livez HTTP/1.1\r\nHo", id="half a header"),
    ],
)
def test_clients_that_stay_after_their_answer_or_before_it_hold_nobody(
    port: int, message: bytes
) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            connect(port, stack).sendall(message)
        half = connect(port, stack)
        half.sendall(b"GET /livez HTTP/1.1\r\n")
        half.shutdown(socket.SHUT_WR)

        assert is_live_within(port, 1)
        assert slowest_answer_s(port, 3) < 2


@pytest.mark.parametrize(
    ("body", "query", "status"),
    [
        pytest.param(b"\n" * 5_000_000, "format=text", 413, id="newlines"),
        pytest.param(b"a b\n" * 1_000_000, "format=text", 413, id="duplicates"),
        pytest.param(b"[" + b'"",' * 300_000 + b'""]', "format=json", 413, id="elements"),
        pytest.param(b"", "format=text", 413, id="members"),
        pytest.param(b'"",\n' * 15_000, "format=csv&field=text", 422, id="a small table"),
    ],
)
def test_a_few_kilobytes_of_next_to_nothing_hold_nobody(
    port: int, body: bytes, query: str, status: int
) -> None:
    bomb = gzip.compress(body, 9) if body else gzip.compress(b"") * 40_000
    with ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(post_bomb, port, bomb, query) for _ in range(5)]
        time.sleep(0.2)
        assert is_live_within(port, 2)
        assert slowest_answer_s(port, 2) < 2

    statuses = {answer.result().status_code for answer in answers}
    assert statuses <= {status, 503}
    assert status in statuses


def test_a_body_that_nobody_asked_for_keeps_no_other_ones_out(port: int, redis_server: str) -> None:
    board = Board.connect(redis_server)
    key = board.accounts.create_key("default", ("submit",))[1]
    body = httpx.Request("POST", "http://x", json=make_body()).read()
    header = b"POST /v1/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 8388000\r\n\r\n"
    with ExitStack() as stack:
        strangers = [connect(port, stack) for _ in range(12)]
        for sock in strangers:
            sock.sendall(header)
        answers = [sock.recv(100) for sock in strangers]
        for sock in strangers:
            with suppress(OSError):
                sock.sendall(b" " * 4096)
        mine = connect(port, stack)
        mine.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            + f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        time.sleep(0.1)
        mine.sendall(body)

        assert mine.recv(100).startswith(b"HTTP/1.1 202 ")
        assert {answer[9:12] for answer in answers} <= {b"401", b"404"}
