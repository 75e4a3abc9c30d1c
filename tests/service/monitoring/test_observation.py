from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from polyseme.contract.board.board import Board
from polyseme.contract.logs import JsonFormatter
from polyseme.contract.settings import Settings
from polyseme.service.app import create_app
from tests.factories import make_body, make_texts


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def access(self) -> list[dict[str, object]]:
        found = map(json.loads, self.lines)
        return [line for line in found if line["logger"] == "polyseme.access"]


@pytest.fixture
def kept() -> Iterator[Kept]:
    """All that is logged while the test runs."""
    handler, root = Kept(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


def test_a_request_is_one_line_with_its_route_and_ids(http: FlaskClient, kept: Kept) -> None:
    job = http.post("/v1/jobs", json=make_body()).get_json()["id"]
    kept.lines.clear()

    http.get(f"/v1/jobs/{job}", headers={"X-Request-Id": "mine-1"})

    (line,) = kept.access()
    assert line["request"] == "mine-1"
    assert line["job"] == job
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/jobs/<job:job_id>", 200)
    assert isinstance(line["ms"], float)


def test_a_submit_is_told_with_the_job_it_made(http: FlaskClient, kept: Kept) -> None:
    answer = http.post("/v1/jobs", json=make_body())

    (line,) = kept.access()
    assert line["job"] == answer.get_json()["id"]
    assert line["request"] == answer.headers["X-Request-Id"]


def test_one_requests_ids_do_not_reach_the_next(http: FlaskClient, kept: Kept) -> None:
    http.get("/v1/jobs/job_" + "0" * 28)
    http.get("/v1/models")

    first, second = kept.access()
    assert "job" in first
    assert "job" not in second
    assert first["request"] != second["request"]


def test_a_job_keeps_which_request_made_it_and_whose_it_was(
    http: FlaskClient, board: Board
) -> None:
    answer = http.post("/v1/jobs", json=make_body(), headers={"X-Request-Id": "mine-2"})

    job = board.jobs.get(answer.get_json()["id"])
    assert job is not None
    assert job.origin == {"request_id": "mine-2", "tenant": "default"}


def test_probes_are_told_of_only_when_they_fail(http: FlaskClient, kept: Kept) -> None:
    for path in ("/livez", "/readyz", "/metrics", "/metrics?x=1"):
        http.get(path)

    assert [(line["route"], line["status"]) for line in kept.access()] == [("/metrics", 422)]


@pytest.mark.parametrize(("which", "told"), [("all", [200, 404]), ("failed", [404]), ("none", [])])
def test_which_requests_are_told_is_a_setting(
    settings: Settings, kept: Kept, which: str, told: list[int]
) -> None:
    http = create_app(replace(settings, log_requests=which)).test_client()

    http.get("/v1/models")
    http.get("/nowhere")

    assert [line["status"] for line in kept.access()] == told


def test_no_text_of_a_client_is_logged(http: FlaskClient, kept: Kept) -> None:
    secret = "a sentence that is nobody's business"

    http.post("/v1/jobs", json=make_body(corpus={"texts": [secret, *make_texts()]}))
    http.post("/v1/jobs", data=f'{{"{secret}": ', content_type="application/json")
    http.post("/v1/corpora", data=secret.encode(), content_type="text/plain")
    http.get("/v1/jobs", query_string={"status": secret})

    assert len(kept.access()) == 4
    assert not [line for line in kept.lines if secret in line]
