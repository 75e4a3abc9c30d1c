"""The load generator against a real server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.generator import Load, put_load
from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Store
from polyseme.service.app import create_app
from tests.factories import add_corpus, make_body, make_card, open_job
from tests.service.conftest import make_settings, serving


@pytest.fixture
def load(redis_url: str, board: Board, store: Store, tmp_path: Path) -> Iterator[Load]:
    """Six reads of a running service."""
    board.registry.put_card(make_card())
    add_corpus(board, store)
    with serving(create_app(make_settings(redis_url, tmp_path))) as client:
        yield Load("127.0.0.1", client.base_url.port or 0, ["/v1/models"], 6, connections=2)


def test_polls_with_tags_are_answered_304(load: Load, board: Board) -> None:
    paths = [f"/v1/jobs/{open_job(board).id}" for _ in range(2)]

    answers = put_load(replace(load, paths=paths, connections=1, conditional=True))

    assert (answers.good, answers.others) == ({"200": 2, "304": 4}, {})
    assert len(answers.ms) == 6


def test_bodies_are_posted(load: Load, board: Board) -> None:
    answers = put_load(replace(load, paths=["/v1/jobs"], body=json.dumps(make_body())))

    assert answers.good == {"202": 6}
    assert board.jobs.count_active() == 6


def test_a_rate_is_kept(load: Load) -> None:
    answers = put_load(replace(load, rate=20.0))

    assert 0.25 <= answers.seconds < 3


def test_a_server_that_is_not_there_is_an_error_by_name(load: Load) -> None:
    answers = put_load(replace(load, port=1, requests=2))

    assert (answers.good, answers.others) == ({}, {"ConnectionRefusedError": 2})


class Busy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(503)
        if self.path == "/polite":
            self.send_header("Retry-After", "2")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@pytest.fixture
def busy() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


def test_a_refusal_without_retry_after_is_told_apart(busy: int) -> None:
    answers = put_load(Load("127.0.0.1", busy, ["/polite", "/rude"], 4))

    assert answers.others == {"503": 2, "503 without Retry-After": 2}
