"""/v1/batches over HTTP: accepted whole or in part, polled, cancelled, deleted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from flask.testing import FlaskClient

from polyseme.contract.board.board import Board
from polyseme.contract.board.outbox import Outbox
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.records.tenants import Tenant
from polyseme.contract.settings import Settings
from polyseme.contract.tickets import ticket_keys
from polyseme.service.app import create_app
from polyseme.service.context import Services
from polyseme.service.outbound.addresses import Allowed
from polyseme.service.outbound.delivery import Poster
from polyseme.service.schemas.batches import BatchSchema, BatchSummariesSchema
from polyseme.service.webhooks.sender import Sender
from tests.client.standins import free_port, wait_until, wait_until_live
from tests.factories import add_corpus, make_body, make_card, take_unit, write_result
from tests.service.receiver import receiving

GOOD = make_body()
WRONG_LAYER = make_body(neurons={"layers": [9]})


def batch_of(*jobs: Any, **more: Any) -> dict[str, Any]:
    return {"jobs": list(jobs), **more}


def lines(*jobs: Any) -> dict[str, Any]:
    """The arguments of a post with JSON lines."""
    return {
        "data": "".join(json.dumps(j) + "\n" for j in jobs),
        "content_type": "application/x-ndjson",
    }


def submit(http: FlaskClient, count: int = 3, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = http.post(
        "/v1/batches", json=batch_of(*[GOOD] * count, **more)
    ).get_json()
    return found


def tickets(settings: Settings) -> int:
    client = redis.Redis.from_url(settings.redis_url)
    return sum(int(client.llen(key)) for key in ticket_keys().values())


def test_a_batch_answers_where_it_is_and_each_entry_its_job(
    http: FlaskClient, board: Board, settings: Settings
) -> None:
    answer = http.post(
        "/v1/batches", json=batch_of(GOOD, make_body(priority="low"), metadata={"run": "7"})
    )

    batch = answer.get_json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == batch["links"]["self"] == f"/v1/batches/{batch['id']}"
    assert answer.headers["ETag"] == f'W/"{batch["revision"]}"'
    assert int(answer.headers["Retry-After"]) >= 1
    assert set(batch) == set(BatchSchema().fields)
    assert (batch["status"], batch["fraction"], batch["metadata"]) == ("running", 0.0, {"run": "7"})
    assert (batch["counts"]["jobs"], batch["counts"]["queued"], batch["counts"]["refused"]) == (
        2,
        2,
        0,
    )
    assert [j.id for j in list(board.jobs.newest_first())] == [e["job"] for e in batch["entries"]][
        ::-1
    ]
    assert tickets(settings) == 2
    assert board.units.count_waiting()["default", "low"] == 1


def test_an_entry_with_a_deprecated_option_is_told_of(http: FlaskClient) -> None:
    old = make_body(senses={"alpha": 0.05})
    wrong = make_body(senses=[])

    answer = http.post("/v1/batches?atomic=false", **lines(GOOD, wrong, old))

    assert answer.headers["Deprecation"] == "@1796083200"
    assert "Deprecation" not in http.post("/v1/batches?atomic=false", **lines(GOOD, wrong)).headers


def test_json_lines_are_taken_as_the_array_is(http: FlaskClient) -> None:
    answer = http.post("/v1/batches?atomic=false", **lines(GOOD, WRONG_LAYER))

    batch = answer.get_json()
    assert (answer.status_code, batch["atomic"]) == (202, False)
    assert [e["problem"] is None for e in batch["entries"]] == [True, False]


def test_jobs_show_their_batch_and_are_listed_by_it(http: FlaskClient) -> None:
    batch, other = submit(http, 5), submit(http, 2)

    found, path = [], f"/v1/jobs?batch={batch['id']}&limit=2"
    while path:
        page = http.get(path).get_json()
        found += page["data"]
        path = (
            f"/v1/jobs?batch={batch['id']}&limit=2&cursor={page['next_cursor']}"
            if page["next_cursor"]
            else ""
        )

    assert [j["id"] for j in found] == [e["job"] for e in batch["entries"]][::-1]
    assert {j["batch"] for j in found} == {batch["id"]}
    assert http.get(f"/v1/jobs?batch={other['id']}&status=failed").get_json()["data"] == []
    assert http.get("/v1/jobs?batch=bat_none").get_json()["data"] == []
    assert http.post("/v1/jobs", json=GOOD).get_json()["batch"] is None


def test_one_wrong_entry_refuses_all_and_every_wrong_value_has_its_pointer(
    http: FlaskClient, board: Board, settings: Settings
) -> None:
    wrong = make_body(contexts={"top_k": 0, "window": 7})

    answer = http.post("/v1/batches", json=batch_of(GOOD, WRONG_LAYER, wrong))

    problem = answer.get_json()
    assert (answer.status_code, problem["code"]) == (422, "batch_refused")
    assert [e["pointer"] for e in problem["errors"]] == [
        "/jobs/1/neurons/layers",
        "/jobs/2/contexts/top_k",
        "/jobs/2/contexts/window",
    ]
    assert "2 of 3 jobs" in problem["detail"]
    assert (list(board.jobs.newest_first()), board.batches.list_page(), tickets(settings)) == (
        [],
        [],
        0,
    )


def test_a_batch_that_is_not_atomic_submits_what_it_can(http: FlaskClient, board: Board) -> None:
    answer = http.post("/v1/batches", json=batch_of(GOOD, WRONG_LAYER, 7, GOOD, atomic=False))

    batch = answer.get_json()
    assert (answer.status_code, batch["counts"]["jobs"], batch["counts"]["refused"]) == (202, 2, 2)
    assert [e["index"] for e in batch["entries"]] == [0, 1, 2, 3]
    assert batch["entries"][1]["problem"] == {
        "status": 422,
        "code": "unknown_layer",
        "detail": "layer 9 of tiny-gated: it has 0 to 3",
        "errors": [
            {"pointer": "/jobs/1/neurons/layers", "detail": "layer 9 of tiny-gated: it has 0 to 3"}
        ],
    }
    assert batch["entries"][2]["problem"]["errors"] == [
        {"pointer": "/jobs/2", "detail": "expected an object"}
    ]
    assert len(list(board.jobs.newest_first())) == 2


def test_texts_of_a_refused_batch_are_not_kept(http: FlaskClient, board: Board) -> None:
    own = make_body(corpus={"texts": ["one", "two"]}, contexts={"top_k": 2})

    http.post("/v1/batches", json=batch_of(own, WRONG_LAYER))
    refused = len(board.registry.list_corpora())
    batch = http.post("/v1/batches", json=batch_of(own, own)).get_json()

    assert refused == 1
    assert (
        len(
            {
                j["request"]["corpus"]["id"]
                for j in http.get(batch["links"]["jobs"]).get_json()["data"]
            }
        )
        == 1
    )
    assert len(board.registry.list_corpora()) == 2


BAD: list[tuple[str, dict[str, Any], int, str, str | None]] = [
    (
        "no body",
        {"json": None, "data": b"", "content_type": "application/json"},
        400,
        "malformed_request",
        None,
    ),
    ("a list", {"json": [GOOD]}, 422, "invalid_request", ""),
    ("no jobs", {"json": {}}, 422, "invalid_request", "/jobs"),
    ("an empty list", {"json": batch_of()}, 422, "invalid_request", "/jobs"),
    ("too many jobs", {"json": batch_of(*[GOOD] * 21)}, 422, "invalid_request", "/jobs"),
    ("jobs of another type", {"json": {"jobs": "all"}}, 422, "invalid_request", "/jobs"),
    (
        "an unknown field",
        {"json": batch_of(GOOD, priority="high")},
        422,
        "invalid_request",
        "/priority",
    ),
    (
        "a flag of another type",
        {"json": batch_of(GOOD, atomic="no")},
        422,
        "invalid_request",
        "/atomic",
    ),
    (
        "bad metadata",
        {"json": batch_of(GOOD, metadata={"a": 1})},
        422,
        "invalid_request",
        "/metadata/a",
    ),
    (
        "a private webhook",
        {"json": batch_of(GOOD, webhook={"url": "https://10.0.0.1/"})},
        422,
        "invalid_request",
        "/webhook/url",
    ),
    ("null for a job", {"json": batch_of(None)}, 422, "batch_refused", "/jobs/0"),
    (
        "an unknown field in a job",
        {"json": batch_of(GOOD, make_body(x=1))},
        422,
        "batch_refused",
        "/jobs/1/x",
    ),
    (
        "a job without a model",
        {"json": batch_of({"corpus": {"id": "notes"}})},
        422,
        "batch_refused",
        "/jobs/0/model",
    ),
    (
        "an unknown corpus",
        {"json": batch_of(make_body(corpus={"id": "no"}))},
        422,
        "batch_refused",
        "/jobs/0/corpus/id",
    ),
    (
        "blank texts",
        {"json": batch_of(make_body(corpus={"texts": [" "]}))},
        422,
        "batch_refused",
        "/jobs/0",
    ),
    (
        "a private webhook of a job",
        {"json": batch_of(GOOD, make_body(webhook={"url": "https://10.0.0.1/"}))},
        422,
        "batch_refused",
        "/jobs/1/webhook/url",
    ),
    (
        "a model nobody has seen",
        {"json": batch_of(make_body(model="unseen"))},
        503,
        "unavailable",
        "/jobs/0",
    ),
    (
        "a query with JSON",
        {"json": batch_of(GOOD), "query_string": "atomic=false"},
        422,
        "invalid_request",
        "/atomic",
    ),
    (
        "a broken line",
        {"data": json.dumps(GOOD) + '\n{"model"\n', "content_type": "application/jsonl"},
        422,
        "batch_refused",
        "/jobs/1",
    ),
    (
        "a line with a name twice",
        {"data": '{"model": "a", "model": "b"}', "content_type": "application/jsonl"},
        422,
        "batch_refused",
        "/jobs/0",
    ),
    (
        "no lines",
        {"data": "\n\n", "content_type": "application/x-ndjson"},
        422,
        "invalid_request",
        "/jobs",
    ),
    (
        "a bad flag in the query",
        {**lines(GOOD), "query_string": "atomic=0"},
        422,
        "invalid_request",
        "/atomic",
    ),
    (
        "a private webhook in the query",
        {**lines(GOOD), "query_string": "webhook=https://127.0.0.1/"},
        422,
        "invalid_request",
        "/webhook/url",
    ),
    (
        "packed lines",
        {**lines(GOOD), "headers": {"Content-Encoding": "gzip"}},
        415,
        "unsupported_media_type",
        None,
    ),
    (
        "a form",
        {"data": "a=b", "content_type": "application/x-www-form-urlencoded"},
        415,
        "unsupported_media_type",
        None,
    ),
    (
        "too long a body",
        {"json": batch_of(make_body(corpus={"texts": ["x" * 70_000]}))},
        413,
        "too_large",
        None,
    ),
    (
        "too many bytes of lines",
        lines(make_body(corpus={"texts": ["x" * 70_000]})),
        413,
        "too_large",
        None,
    ),
    (
        "a bad key",
        {"json": batch_of(GOOD), "headers": {"Idempotency-Key": "a b"}},
        400,
        "malformed_request",
        None,
    ),
    (
        "a bad wait",
        {"json": batch_of(GOOD), "headers": {"Prefer": "wait=99"}},
        400,
        "malformed_request",
        None,
    ),
]


@pytest.fixture
def small(board: Board, store: Store, settings: Settings) -> FlaskClient:
    board.registry.put_card(make_card())
    add_corpus(board, store)
    return create_app(replace(settings, max_batch_jobs=20, batch_bytes=1 << 16)).test_client()


@pytest.mark.parametrize(
    ("name", "sent", "status", "code", "pointer"), BAD, ids=[b[0] for b in BAD]
)
def test_bad_input_is_refused_and_leaves_nothing(
    small: FlaskClient,
    board: Board,
    name: str,
    sent: dict[str, Any],
    status: int,
    code: str,
    pointer: str | None,
) -> None:
    answer = small.post("/v1/batches", **sent)

    problem = answer.get_json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert answer.content_type == "application/problem+json"
    if pointer is not None:
        assert pointer in [e["pointer"] for e in problem["errors"]], problem
    assert ("Retry-After" in answer.headers) == (status == 503)
    assert (list(board.jobs.newest_first()), board.batches.list_page()) == ([], [])


def test_the_same_key_and_body_answer_the_first_batch(http: FlaskClient, board: Board) -> None:
    headers = {"Idempotency-Key": "k-1"}
    first = http.post("/v1/batches", json=batch_of(GOOD, GOOD), headers=headers)
    board.registry.delete_corpus("notes")

    again = http.post("/v1/batches", json=batch_of(GOOD, GOOD), headers=headers)
    other = http.post("/v1/batches", json=batch_of(GOOD), headers=headers)

    assert (again.status_code, again.get_json()["id"]) == (202, first.get_json()["id"])
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (other.status_code, other.get_json()["code"]) == (422, "idempotency_key_reused")
    assert len(list(board.jobs.newest_first())) == 2


def test_a_job_and_a_batch_may_have_the_same_key(http: FlaskClient) -> None:
    headers = {"Idempotency-Key": "k-1"}

    answers = [
        http.post("/v1/jobs", json=GOOD, headers=headers),
        http.post("/v1/batches", json=batch_of(GOOD), headers=headers),
    ]

    assert [a.status_code for a in answers] == [202, 202]


def test_many_threads_with_one_key_open_one_batch(
    server: httpx.Client, board: Board, settings: Settings
) -> None:
    def post(_: int) -> httpx.Response:
        return server.post(
            "/v1/batches", json=batch_of(GOOD, GOOD), headers={"Idempotency-Key": "race"}
        )

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, range(16)))

    assert {a.status_code for a in answers} == {202}
    assert len({a.json()["id"] for a in answers}) == 1
    assert len(list(board.jobs.newest_first())) == tickets(settings) == 2


def test_a_tag_that_holds_is_304_and_a_long_poll_ends_with_a_change(
    http: FlaskClient, board: Board
) -> None:
    batch = submit(http, 2)
    path, tag = batch["links"]["self"], http.get(batch["links"]["self"]).headers["ETag"]

    same = http.get(path, headers={"If-None-Match": tag})
    waited = http.get(path, headers={"If-None-Match": tag, "Prefer": "wait=1"})
    threading.Timer(0.3, board.jobs.end, (batch["entries"][0]["job"], "succeeded")).start()
    changed = http.get(path, headers={"If-None-Match": tag, "Prefer": "wait=20"})

    assert (same.status_code, same.data, same.headers["ETag"]) == (304, b"", tag)
    assert (waited.status_code, waited.headers["Preference-Applied"]) == (304, "wait=1")
    assert (
        changed.status_code,
        changed.get_json()["counts"]["succeeded"],
        changed.get_json()["fraction"],
    ) == (
        200,
        1,
        0.5,
    )


def test_a_submit_that_waits_answers_200_when_all_jobs_have_ended(
    server: httpx.Client, board: Board
) -> None:
    def finish() -> None:
        wait_until(lambda: len(board.jobs.list_active()) == 2)
        for job in board.jobs.list_active():
            board.jobs.end(job, "succeeded")

    worker = threading.Thread(target=finish)
    worker.start()
    answer = server.post("/v1/batches", json=batch_of(GOOD, GOOD), headers={"Prefer": "wait=10"})
    worker.join()

    assert (answer.status_code, answer.json()["status"]) == (200, "ended")
    assert "Retry-After" not in answer.headers


def test_cancelling_ends_idle_jobs_at_once_and_others_by_their_workers(
    http: FlaskClient, board: Board, store: Store
) -> None:
    batch = submit(http, 3)
    done, held, idle = (e["job"] for e in batch["entries"])
    board.jobs.end(done, "succeeded")
    assert take_unit(board, held, "plan", lease_s=30) is not None
    store.write(f"{Layout.work(idle)}/plan.json", b"{}")

    answer = http.post(batch["links"]["cancel"])
    board.jobs.end(held, "cancelled")
    again = http.post(batch["links"]["cancel"])

    assert (answer.status_code, answer.get_json()["status"]) == (202, "cancelling")
    assert [e["status"] for e in answer.get_json()["entries"]] == [
        "succeeded",
        "cancelling",
        "cancelled",
    ]
    assert not store.exists(Layout.work(idle))
    assert (again.status_code, again.get_json()["status"]) == (200, "ended")


@pytest.mark.parametrize("with_jobs", [False, True])
def test_a_batch_is_deleted_once_it_has_ended_and_its_jobs_if_asked_for(
    http: FlaskClient, board: Board, store: Store, with_jobs: bool
) -> None:
    batch = submit(http, 2)
    path = f"{batch['links']['self']}?with_jobs={str(with_jobs).lower()}"
    jobs = [e["job"] for e in batch["entries"]]
    early = http.delete(path)
    for job in jobs:
        write_result(store, job, layers=(0,), neurons=(0,))
        board.jobs.end(job, "succeeded")
    http.delete(f"/v1/jobs/{jobs[0]}")

    answer = http.delete(path)

    assert (early.status_code, answer.status_code) == (409, 204)
    assert http.get(batch["links"]["self"]).status_code == 404
    assert http.get(f"/v1/jobs/{jobs[1]}").status_code == (404 if with_jobs else 200)
    assert store.exists(Layout.result(jobs[1])) != with_jobs
    assert http.delete(path).status_code == 404


def test_what_the_jobs_of_a_batch_found_is_one_list(
    http: FlaskClient, board: Board, store: Store
) -> None:
    sent = batch_of(GOOD, WRONG_LAYER, GOOD, GOOD, make_body(metadata={"n": "4"}), atomic=False)
    batch = http.post("/v1/batches", json=sent).get_json()
    jobs = [e["job"] for e in batch["entries"]]
    for job in (jobs[0], jobs[2], jobs[3]):
        write_result(store, job, layers=(0,), senses=True)
        board.jobs.end(job, "succeeded")
    http.delete(f"/v1/jobs/{jobs[2]}")
    store.delete(f"{Layout.result(jobs[3])}/summary.json")
    path = batch["links"]["summaries"]

    first = http.get(f"{path}?limit=2").get_json()
    second = http.get(path, query_string={"limit": 2, "cursor": first["next_cursor"]}).get_json()

    found, deleted, damaged, running = first["data"] + second["data"]
    assert second["next_cursor"] is None
    assert [r["index"] for r in (found, deleted, damaged, running)] == [0, 2, 3, 4]
    summary = http.get(f"/v1/jobs/{jobs[0]}/summary").get_json()
    assert found["summary"] == {name: summary[name] for name in found["summary"]}
    assert found["summary"]["examples"][0]["meaning"]
    assert (deleted["status"], deleted["model"], deleted["summary"]) == ("succeeded", None, None)
    assert damaged["problem"]["code"] in ("result_damaged", "gone")
    assert (running["summary"], running["problem"], running["metadata"]) == (None, None, {"n": "4"})
    assert BatchSummariesSchema().validate(first | second) == {}


def test_the_answer_to_a_submit_has_notes_on_each_entry(http: FlaskClient) -> None:
    little = make_body(corpus={"texts": ["one two three"] * 3 + ["four"]})
    sent = batch_of(little, WRONG_LAYER, atomic=False)

    answers = [
        http.post("/v1/batches", json=sent, headers={"Idempotency-Key": "k"}).get_json()
        for _ in range(2)
    ]

    alone = http.post("/v1/jobs?dry_run=true", json=little).get_json()["notes"]
    assert alone
    assert [e["notes"] for e in answers[0]["entries"]] == [alone, []]
    assert [e["notes"] for e in answers[1]["entries"]] == [[], []]
    assert "notes" not in http.get(answers[0]["links"]["self"]).get_json()["entries"][0]


def test_pages_of_batches_are_the_whole_list(http: FlaskClient) -> None:
    ids = [submit(http, 1)["id"] for _ in range(5)]

    found, path = [], "/v1/batches?limit=2"
    while path:
        answer = http.get(path)
        found += answer.get_json()["data"]
        link = answer.headers.get("Link", "")
        path = link[1 : link.index(">")] if link else ""

    assert [b["id"] for b in found] == ids[::-1]
    assert "entries" not in found[0]
    assert http.get("/v1/batches?cursor=abc").status_code == 400


def test_an_expired_batch_is_gone(http: FlaskClient, board: Board) -> None:
    batch = submit(http, 1)
    board.jobs.end(batch["entries"][0]["job"], "succeeded", keep_s=0.05)
    wait_until(lambda: board.batches.get(batch["id"]) is None)

    answer = http.get(batch["links"]["self"])

    assert (answer.status_code, answer.get_json()["code"]) == (410, "gone")
    assert http.get("/v1/batches").get_json()["data"] == []


def keyed(board: Board, tenant: str, scope: str = "admin") -> Mapping[str, str]:
    return {"Authorization": f"Bearer {board.accounts.create_key(tenant, (scope,))[1]}"}  # type: ignore[arg-type]


def test_a_batch_is_its_tenants_alone(http: FlaskClient, board: Board) -> None:
    own, other = keyed(board, "default"), keyed(board, "other")
    batch = http.post("/v1/batches", json=batch_of(GOOD), headers=own).get_json()
    path = batch["links"]["self"]

    answers = [
        http.get(path, headers=other),
        http.get(path, headers={**other, "If-None-Match": "*"}),
        http.get(batch["links"]["summaries"], headers=other),
        http.post(f"{path}/cancel", headers=other),
        http.delete(path, headers=other),
    ]

    assert [a.status_code for a in answers] == [404] * 5
    assert http.get("/v1/batches", headers=other).get_json()["data"] == []
    assert http.get(batch["links"]["jobs"], headers=other).get_json()["data"] == []
    assert http.get(path, headers=own).get_json()["status"] == "running"
    assert (
        http.post(
            "/v1/batches", json=batch_of(GOOD), headers=keyed(board, "default", "read")
        ).status_code
        == 403
    )


def test_quotas_are_those_of_single_submits(http: FlaskClient, board: Board) -> None:
    own = keyed(board, "default")
    board.accounts.put_tenant(Tenant("default", active_jobs=3))
    http.post("/v1/jobs", json=GOOD, headers=own)

    never = http.post("/v1/batches", json=batch_of(*[GOOD] * 4), headers=own)
    later = http.post("/v1/batches", json=batch_of(*[GOOD] * 3), headers=own)
    partly = http.post("/v1/batches", json=batch_of(*[GOOD] * 4, atomic=False), headers=own)
    none = http.post("/v1/batches", json=batch_of(GOOD, atomic=False), headers=own)

    assert (never.status_code, never.get_json()["errors"][0]["pointer"]) == (422, "/jobs")
    assert [(a.status_code, a.get_json()["code"]) for a in (later, none)] == [
        (429, "quota_exceeded")
    ] * 2
    assert int(later.headers["Retry-After"]) > 0
    assert [e["problem"] and e["problem"]["code"] for e in partly.get_json()["entries"]] == [
        None,
        None,
        "quota_exceeded",
        "quota_exceeded",
    ]


def test_one_event_tells_of_the_whole_batch(
    board: Board, store: Store, settings: Settings, redis_url: str
) -> None:
    board.registry.put_card(make_card())
    add_corpus(board, store)
    http = create_app(replace(settings, webhook_allow="127.0.0.1")).test_client()
    with receiving() as receiver:
        receiver.answers = [500]
        batch = submit(http, 2, webhook={"url": receiver.url})
        sender = Sender(
            board, Outbox.connect(redis_url), Poster(Allowed.parse("127.0.0.1"), timeout_s=2)
        )
        for entry, status in zip(batch["entries"], ("succeeded", "failed"), strict=True):
            assert sender.outbox.count() == 0
            board.jobs.end(entry["job"], status)
        for _ in range(2):
            taken = sender.outbox.take(lease_s=30)
            assert taken is not None
            sender.deliver(taken)
            board._redis.zadd("polyseme:webhooks", {batch["id"]: 0}, xx=True)

    first, second = receiver.posts
    event = json.loads(second.body)
    shown = http.get(batch["links"]["self"]).get_json()
    assert (first.body, first.headers["webhook-id"]) == (second.body, f"evt_{batch['id']}")
    assert event["type"] == "batch.ended"
    assert event["data"] == {k: v for k, v in shown.items() if k not in ("webhook", "revision")}
    assert [e["status"] for e in event["data"]["entries"]] == ["succeeded", "failed"]
    assert (shown["webhook"]["state"], shown["webhook"]["attempts"]) == ("delivered", 2)


def test_a_batch_whose_tickets_cannot_be_sent_is_accepted_all_the_same(
    services: Services, http: FlaskClient, settings: Settings
) -> None:
    services.queue.conf.broker_url = "redis+socket:///nowhere.sock"

    assert submit(http, 2)["counts"]["queued"] == 2
    assert tickets(settings) == 0


def test_an_api_killed_in_the_middle_leaves_a_whole_batch_or_none(
    settings: Settings, board: Board, store: Store
) -> None:
    board.registry.put_card(make_card())
    add_corpus(board, store)
    roomy = replace(settings, max_active_jobs=100_000)
    http = create_app(roomy).test_client()
    for round_ in range(2):
        before = check_whole(board)

        answered = submit_until_killed(roomy, str(round_), kill_after_s=0.1 + 0.04 * round_)
        found = check_whole(board)
        # The client sends again what it got no answer for, and for good measure what it did.
        again = [
            http.post("/v1/batches", **keyed_submit(f"{round_}-{i}")) for i in range(answered + 1)
        ]

        assert [a.status_code for a in again] == [202] * (answered + 1)
        assert all("Idempotency-Replayed" in a.headers for a in again[:answered])
        assert found - before in (answered, answered + 1)
        assert check_whole(board) == before + answered + 1


def keyed_submit(key: str) -> dict[str, Any]:
    return {"json": batch_of(*[GOOD] * 10), "headers": {"Idempotency-Key": key}}


def submit_until_killed(settings: Settings, name: str, *, kill_after_s: float) -> int:
    """Submits batches with the keys "<name>-0", ... to a service that is killed meanwhile; how many
    it answered.
    """
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "polyseme.service.wsgi:app",
        "-k",
        "gthread",
        "-w",
        "1",
        "--threads",
        "4",
    ]
    process = subprocess.Popen(
        [*command, "-b", f"127.0.0.1:{port}", "--log-level", "critical"],
        cwd=Path(__file__).parents[3],
        env=os.environ | settings.to_environ(),
        start_new_session=True,
    )
    url = wait_until_live(f"http://127.0.0.1:{port}")
    killer = threading.Timer(kill_after_s, os.killpg, (process.pid, signal.SIGKILL))
    killer.start()
    answered = 0
    with httpx.Client(base_url=url, timeout=20) as client:
        while True:
            try:
                client.post("/v1/batches", **keyed_submit(f"{name}-{answered}")).raise_for_status()
            except httpx.TransportError:
                break
            answered += 1
    process.wait(20)
    return answered


def check_whole(board: Board) -> int:
    """That every batch has its ten jobs, and every job its batch; how many batches there are."""
    batches = board.batches.list_page(count=1000)
    assert all(b.counts["queued"] == 10 for b in batches)
    assert len(board.jobs.list_active()) == 10 * len(batches)
    return len(batches)
