"""Server-sent events of a job, over real connections."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from os import environ
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from polyseme.contract.board.board import Board
from polyseme.contract.records.job import Job
from polyseme.contract.settings import Settings
from polyseme.service.app import create_app
from polyseme.service.waiting import event_stream
from polyseme.service.waiting.event_stream import read_revision
from tests.client.standins import free_port, wait_until, wait_until_live
from tests.factories import open_job, run_job
from tests.service.conftest import serving


@dataclass(frozen=True)
class Event:
    id: int
    kind: str
    job: dict[str, Any]


def read_events(lines: Iterator[str]) -> Iterator[Event]:
    found: dict[str, str] = {}
    for line in lines:
        if not line and "data" in found:
            yield Event(int(found["id"]), found["event"], json.loads(found["data"]))
            found = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            found[name] = value


@contextmanager
def following(server: httpx.Client, job: str, **headers: str) -> Iterator[Iterator[Event]]:
    with server.stream("GET", f"/v1/jobs/{job}/events", headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert "no-cache" in answer.headers["Cache-Control"]
        yield read_events(answer.iter_lines())


def test_a_stream_tells_of_each_change_and_ends_with_the_job(
    server: httpx.Client, board: Board
) -> None:
    job = open_job(board)

    with following(server, job.id) as found:
        first = next(found)
        run_job(board, job.id)
        rest = list(found)

    assert (first.kind, first.id, first.job["status"]) == ("progress", job.revision, "queued")
    assert first.job["warning"]
    assert [e.kind for e in rest[:-1]] == ["progress"] * (len(rest) - 1)
    assert (rest[-1].kind, rest[-1].job["status"]) == ("ended", "succeeded")
    ids = [first.id, *(e.id for e in rest)]
    assert ids == sorted(set(ids))
    last = server.get(f"/v1/jobs/{job.id}").json()
    assert rest[-1].job == last
    assert rest[-1].id == last["revision"]


def test_who_comes_again_is_told_only_what_is_new(server: httpx.Client, board: Board) -> None:
    job = open_job(board)
    threading.Timer(0.4, board.jobs.set_phase, (job.id, "planning")).start()

    with following(server, job.id, **{"Last-Event-ID": str(job.revision)}) as found:
        event = next(found)

    assert event.id > job.revision
    assert event.job["phase"] == "planning"


def test_who_knows_the_end_is_told_to_ask_no_more(http: FlaskClient, done: Job) -> None:
    knows = http.get(f"/v1/jobs/{done.id}/events", headers={"Last-Event-ID": str(done.revision)})
    does_not = http.get(
        f"/v1/jobs/{done.id}/events", headers={"Last-Event-ID": str(done.revision - 1)}
    )

    assert (knows.status_code, knows.data) == (204, b"")
    assert [e.kind for e in read_events(iter(does_not.text.splitlines()))] == ["ended"]


def test_a_quiet_stream_shows_that_it_is_alive(
    server: httpx.Client, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_S", 0.1)

    with server.stream("GET", f"/v1/jobs/{open_job(board).id}/events") as answer:
        lines = iter(answer.iter_lines())

        assert next(line for line in lines if line.startswith(":"))


def test_a_stream_is_not_for_ever(
    server: httpx.Client, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "LONGEST_S", 0.3)

    with following(server, open_job(board).id) as found:
        assert [e.kind for e in found] == ["progress"]


def test_a_deleted_job_ends_its_stream(server: httpx.Client, board: Board) -> None:
    job = open_job(board)

    with following(server, job.id) as found:
        next(found)
        board.jobs.end(job.id, "cancelled")
        board.jobs.delete_record(job.id)
        assert all(e.job["id"] == job.id for e in found)


def test_half_of_the_threads_stream_and_a_place_is_free_again_when_a_client_has_gone(
    settings: Settings, app: Flask, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_S", 0.1)
    small, job = create_app(replace(settings, api_threads=4)), open_job(board)
    path = f"/v1/jobs/{job.id}/events"

    with serving(small) as server:
        with ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(following(server, job.id))
            refused = server.get(path)
            polled = server.get(f"/v1/jobs/{job.id}")
        wait_until(lambda: server.head(path).status_code == 200)

    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert polled.status_code == 200


def test_many_streams_are_no_more_connections_to_redis_than_one(
    server: httpx.Client, board: Board, redis_url: str
) -> None:
    jobs = [open_job(board) for _ in range(4)]
    counting = redis.Redis.from_url(redis_url)

    with ExitStack() as stack:
        next(stack.enter_context(following(server, jobs[0].id)))
        one = len(counting.client_list())
        streams = [
            stack.enter_context(following(server, job.id))
            for job in jobs
            for _ in range(2 - (job is jobs[0]))
        ]
        for stream in streams:
            next(stream)
        board.jobs.cancel(jobs[1].id)
        time.sleep(0.3)
        many = len(counting.client_list())

    assert len(streams) == 7
    assert many <= one + 1  # one more may have come to open the streams


def test_a_stream_of_anothers_job_is_not_there(http: FlaskClient, board: Board, done: Job) -> None:
    key = board.accounts.create_key("someone-else", ("read",))[1]

    answer = http.get(f"/v1/jobs/{done.id}/events", headers={"Authorization": f"Bearer {key}"})

    assert answer.status_code == 404
    assert http.get(f"/v1/jobs/{done.id}/events").status_code == 401


@pytest.mark.parametrize(
    ("text", "revision"), [("7", 7), (None, None), ("", None), ("-1", None), ("x", None)]
)
def test_a_last_id_that_is_no_revision_is_none(text: str | None, revision: int | None) -> None:
    assert read_revision(text) == revision


def test_a_service_that_is_told_to_end_does_not_wait_for_its_streams(
    settings: Settings, app: Flask, board: Board
) -> None:
    port, job = free_port(), open_job(board)
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "polyseme.service.wsgi:app",
        "-k",
        "polyseme.service.http.slow_clients.SlowClientWorker",
    ]
    process = subprocess.Popen(
        [
            *command,
            "--threads",
            "4",
            "-b",
            f"127.0.0.1:{port}",
            "--graceful-timeout",
            "30",
            "--log-level",
            "warning",
        ],
        cwd=Path(__file__).parents[3],
        env=environ | settings.to_environ(),
    )
    try:
        url = wait_until_live(f"http://127.0.0.1:{port}")
        with httpx.Client(base_url=url, timeout=30) as client, following(client, job.id) as found:
            next(found)
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert not [e for e in found if e.kind == "ended"]
            process.wait(20)
        took = time.monotonic() - started
    finally:
        process.kill()
        process.wait()

    assert took < 5
