"""Live checks over HTTP: taken in, kept apart from jobs, answered, refused."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import httpx
import pytest
import redis
from flask.testing import FlaskClient

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.records.job import ACTIVATIONS, Job
from polyseme.contract.tickets import ticket_keys
from tests.factories import open_job, take_unit

ANSWER: dict[str, Any] = {
    "tokens": [{"token": "a", "token_id": 0, "char_span": [0, 1], "window": 0}],
    "neurons": [],
    "note": None,
}


def make_body(job: str, **changes: Any) -> dict[str, Any]:
    return {"job": job, "text": "river bank", "neurons": [{"layer": 1, "neuron": 2}], **changes}


def submit(http: FlaskClient, job: str, **changes: Any) -> str:
    answer = http.post("/v1/activations", json=make_body(job, **changes))
    assert answer.status_code == 202, answer.get_json()
    return str(answer.get_json()["id"])


def finish(board: Board, store: Store, check: str, status: str = "succeeded") -> None:
    """Ends a check as a worker does."""
    store.write(f"{Layout.result(check)}/{ACTIVATIONS}", json.dumps(ANSWER).encode())
    assert take_unit(board, check, "activate", lease_s=30) is not None
    board.units.finish(check, "activate")
    board.jobs.end(
        check, status, {"code": "analysis_failed", "detail": "no"} if status == "failed" else None
    )


def test_a_check_is_accepted_with_its_place_and_goes_before_everything(
    http: FlaskClient, done: Job, redis_url: str
) -> None:
    answer = http.post("/v1/activations", json=make_body(done.id))

    found = answer.get_json()
    assert (answer.status_code, answer.headers["Location"]) == (
        202,
        f"/v1/activations/{found['id']}",
    )
    assert {"ETag", "Retry-After"} <= set(answer.headers.keys())
    assert (found["object"], found["status"], found["job"]) == ("activations", "queued", done.id)
    assert (found["model"], found["text"]) == (done.request.model, "river bank")
    assert (found["tokens"], found["neurons"], found["error"]) == (None, None, None)
    queue = redis.Redis.from_url(redis_url)
    assert {name: queue.llen(key) for name, key in ticket_keys().items()} == {"default": 1}


def test_a_check_is_no_job(http: FlaskClient, done: Job) -> None:
    check = submit(http, done.id)

    assert [j["id"] for j in http.get("/v1/jobs").get_json()["data"]] == [done.id]
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/neurons")):
        assert http.open(f"/v1/jobs/{check}{path}", method=method).status_code == 404


def test_the_answer_is_there_once_it_has_ended(
    http: FlaskClient, board: Board, store: Store, done: Job
) -> None:
    check = submit(http, done.id)
    before = http.get(f"/v1/activations/{check}")
    finish(board, store, check)

    after = http.get(f"/v1/activations/{check}")

    assert (before.get_json()["tokens"], after.get_json()["tokens"]) == (None, ANSWER["tokens"])
    assert (after.get_json()["status"], "Retry-After" in after.headers) == ("succeeded", False)
    assert before.headers["ETag"] != after.headers["ETag"]
    again = http.get(f"/v1/activations/{check}", headers={"If-None-Match": after.headers["ETag"]})
    assert again.status_code == 304


def test_a_check_that_failed_says_why(
    http: FlaskClient, board: Board, store: Store, done: Job
) -> None:
    check = submit(http, done.id)
    finish(board, store, check, "failed")

    found = http.get(f"/v1/activations/{check}").get_json()

    assert (found["status"], found["error"]["code"], found["tokens"]) == (
        "failed",
        "analysis_failed",
        None,
    )


def test_a_submit_that_waits_gets_the_answer(
    server: httpx.Client, board: Board, store: Store, done: Job
) -> None:
    def work() -> None:
        while not (active := board.jobs.list_active()):
            time.sleep(0.02)
        finish(board, store, active[0])

    worker = threading.Thread(target=work)
    worker.start()
    answer = server.post("/v1/activations", json=make_body(done.id), headers={"Prefer": "wait=20"})
    worker.join()

    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert answer.headers["Preference-Applied"] == "wait=20"
    assert answer.json()["tokens"] == ANSWER["tokens"]


def test_only_an_ended_check_is_deleted_with_its_result(
    http: FlaskClient, board: Board, store: Store, done: Job
) -> None:
    check = submit(http, done.id)
    early = http.delete(f"/v1/activations/{check}")
    finish(board, store, check)

    late = http.delete(f"/v1/activations/{check}")

    assert (early.status_code, early.get_json()["code"], late.status_code) == (409, "conflict", 204)
    assert not store.exists(Layout.result(check))
    assert http.get(f"/v1/activations/{check}").status_code == 404
    assert http.delete(f"/v1/activations/{check}").status_code == 404


def test_a_result_that_is_gone_is_410(
    http: FlaskClient, board: Board, store: Store, done: Job
) -> None:
    check = submit(http, done.id)
    finish(board, store, check)
    store.delete(Layout.result(check))

    assert http.get(f"/v1/activations/{check}").status_code == 410


NEURON = {"layer": 1, "neuron": 2}


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"text": ""}, "/text"),
        ({"text": " \n"}, "/text"),
        ({"text": "x" * 20_001}, "/text"),
        ({"text": 7}, "/text"),
        ({"neurons": []}, "/neurons"),
        ({"neurons": [{"layer": 1, "neuron": i} for i in range(101)]}, "/neurons"),
        ({"neurons": [{"layer": 1, "neuron": 48}]}, "/neurons/0"),
        ({"neurons": [NEURON, {"layer": 4, "neuron": 0}]}, "/neurons/1"),
        ({"neurons": [NEURON, NEURON]}, "/neurons/1"),
        ({"neurons": [{"layer": 1}]}, "/neurons/0/neuron"),
        ({"neurons": [{"layer": -1, "neuron": 2}]}, "/neurons/0/layer"),
        ({"neurons": [{"layer": True, "neuron": 2}]}, "/neurons/0/layer"),
        ({"neurons": [NEURON | {"head": 3}]}, "/neurons/0/head"),
        ({"job": "../jobs"}, "/job"),
        ({"top": 0}, "/top"),
        ({"model": "tiny"}, "/model"),
    ],
)
def test_what_is_not_allowed_is_refused_with_its_pointer(
    http: FlaskClient, board: Board, done: Job, changes: dict[str, Any], pointer: str
) -> None:
    answer = http.post("/v1/activations", json=make_body(done.id) | changes)

    assert answer.status_code == 422
    assert pointer in [e["pointer"] for e in answer.get_json()["errors"]]
    assert board.jobs.count_active() == 0


def test_a_job_that_is_not_there_or_not_finished_is_refused(
    http: FlaskClient, board: Board
) -> None:
    unfinished = open_job(board).id

    answers = [
        http.post("/v1/activations", json=make_body(job)) for job in ("job_" + "0" * 28, unfinished)
    ]

    assert [a.status_code for a in answers] == [404, 409]
    assert answers[1].get_json()["code"] == "job_not_finished"


def test_a_bad_wait_is_refused_before_anything_is_opened(
    http: FlaskClient, board: Board, done: Job
) -> None:
    answer = http.post("/v1/activations", json=make_body(done.id), headers={"Prefer": "wait=31"})

    assert (answer.status_code, board.jobs.count_active()) == (400, 0)
