from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest
import redis
from flask.testing import FlaskClient

from polyseme.contract.board.board import Board
from polyseme.contract.files.documents import write_documents
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.records.job import Corpus, Job
from polyseme.contract.records.model_card import SiteCard
from polyseme.contract.settings import Settings
from polyseme.contract.tickets import ticket_keys
from polyseme.service.app import create_app
from polyseme.service.context import KEY, Services
from polyseme.service.routes import jobs as job_routes
from tests.factories import (
    add_corpus,
    make_body,
    make_card,
    make_request,
    open_job,
    run_job,
    take_unit,
    write_result,
)


def tickets(settings: Settings) -> int:
    client = redis.Redis.from_url(settings.redis_url)
    return sum(int(client.llen(key)) for key in ticket_keys().values())


def test_a_submit_answers_where_the_job_is_and_sends_its_first_ticket(
    http: FlaskClient, board: Board, settings: Settings
) -> None:
    answer = http.post("/v1/jobs", json=make_body(metadata={"run": "7"}, priority="high"))

    job = answer.get_json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    assert answer.headers["ETag"] == f'W/"{job["revision"]}"'
    assert int(answer.headers["Retry-After"]) >= 1
    assert (job["status"], job["priority"], job["metadata"]) == ("queued", "high", {"run": "7"})
    fitted = make_request(
        contexts={"top_k": 30, "shown": 20, "tails": "positive"},
        metadata={"run": "7"},
        priority="high",
    )
    assert job["request"] == fitted.to_dict()
    assert tickets(settings) == 1
    assert board.units.claim(job["id"], ["plan"], room=1, patience_s=1) == []  # it is in flight


def test_what_is_to_be_said_of_a_request_is_in_its_answer(http: FlaskClient) -> None:
    body = make_body(senses={"alpha": 0.02})
    submitted, planned = (http.post(f"/v1/jobs{q}", json=body) for q in ("", "?dry_run=true"))

    said = {note["code"]: note["message"] for note in submitted.json["notes"]}
    assert [*said] == ["little_text", "top_k_lowered", "alpha_deprecated", "no_worker"]
    assert said["top_k_lowered"].startswith("contexts.top_k is 30 instead of 60")
    assert said["alpha_deprecated"] == (
        "senses.alpha is deprecated: 0.02 was read as senses.same_at 0.5."
    )
    assert planned.json["notes"] == submitted.json["notes"]
    assert submitted.json["request"]["senses"]["same_at"] == 0.5
    assert submitted.headers["Deprecation"] == planned.headers["Deprecation"] == "@1796083200"


def test_a_job_that_no_worker_can_take_says_so(http: FlaskClient, board: Board) -> None:
    board.registry.put_card(make_card(queue="big"))
    board.workers.announce("w", ttl_s=30)

    alone = http.post("/v1/jobs", json=make_body(contexts={"top_k": 20})).json or {}
    board.workers.announce("strong", ttl_s=30, queues=("big",))
    served = http.get(f"/v1/jobs/{alone['id']}").json or {}

    assert (alone["queue"], alone["warning"]) == (
        "big",
        "no worker serves the queue 'big' now: the job waits until one does",
    )
    assert served["warning"] is None
    assert "no_worker" in {note["code"] for note in alone["notes"]}


def test_an_encoder_of_any_worker_is_enough(http: FlaskClient, board: Board) -> None:
    def codes() -> set[str]:
        answer = http.post("/v1/jobs?dry_run=true", json=make_body()).get_json()
        return {note["code"] for note in answer["notes"]}

    board.workers.announce("w", ttl_s=30)
    without = codes()
    board.workers.announce("strong", ttl_s=30, has_encoder=True)

    assert "no_encoder" in without
    assert "no_encoder" not in codes()


def test_texts_are_hashed_and_written_once(
    http: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Any] = []

    def note(texts: Any, *args: Any, **options: Any) -> Corpus:
        written.append(texts)
        return write_documents(texts, *args, **options)

    for module in ("jobs.submit", "corpora.register"):
        monkeypatch.setattr(f"polyseme.service.{module}.write_documents", note)

    answer = http.post(
        "/v1/jobs", json=make_body(corpus={"texts": ["one", "two"]}, contexts={"top_k": 2})
    )

    assert (answer.status_code, len(written)) == (202, 1)


def test_texts_become_a_corpus_by_their_content(http: FlaskClient) -> None:
    body = make_body(corpus={"texts": ["one", "two", "one"]}, contexts={"top_k": 2})

    first, second = (http.post("/v1/jobs", json=body).get_json() for _ in range(2))

    corpus = first["request"]["corpus"]["id"]
    assert second["request"]["corpus"]["id"] == corpus
    assert http.get(f"/v1/corpora/{corpus}").get_json()["documents"] == 2


def test_a_dry_run_estimates_and_leaves_nothing(
    http: FlaskClient, board: Board, settings: Settings
) -> None:
    board.registry.put_card(
        make_card(characters_per_token=3.0, tokens_per_second=100.0, neurons_per_second=192.0)
    )
    body = make_body(corpus={"texts": ["x" * 300]}, contexts={"top_k": 1})

    answer = http.post("/v1/jobs?dry_run=true", json=body)

    found = answer.get_json()
    assert (answer.status_code, found["object"], found["estimate"]) == (200, "estimate", True)
    assert (found["tokens"], found["seconds"], found["neurons"]) == (100, 2.0, 4 * 48)
    assert (
        list(board.jobs.newest_first()),
        tickets(settings),
        len(board.registry.list_corpora()),
    ) == (
        [],
        0,
        1,
    )


def test_a_dry_run_is_checked_as_a_submit_is(http: FlaskClient) -> None:
    answer = http.post("/v1/jobs?dry_run=true", json=make_body(neurons={"layers": [4]}))

    assert (answer.status_code, answer.get_json()["code"]) == (422, "unknown_layer")


def test_the_same_key_and_body_answer_the_first_job(http: FlaskClient, board: Board) -> None:
    headers = {"Idempotency-Key": "k-1"}
    first = http.post("/v1/jobs", json=make_body(), headers=headers)
    board.registry.delete_corpus("notes")

    again = http.post("/v1/jobs", json=make_body(), headers=headers)

    assert (again.status_code, again.get_json()["id"]) == (202, first.get_json()["id"])
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers


def test_the_same_key_with_another_body_is_refused(http: FlaskClient) -> None:
    headers = {"Idempotency-Key": "k-1"}
    http.post("/v1/jobs", json=make_body(), headers=headers)

    other = http.post("/v1/jobs", json=make_body(priority="low"), headers=headers)

    assert (other.status_code, other.get_json()["code"]) == (422, "idempotency_key_reused")


def test_a_key_whose_job_was_deleted_is_gone(http: FlaskClient, board: Board) -> None:
    headers = {"Idempotency-Key": "k-1"}
    job = http.post("/v1/jobs", json=make_body(), headers=headers).get_json()["id"]
    http.post(f"/v1/jobs/{job}/cancel")
    http.delete(f"/v1/jobs/{job}")

    assert http.post("/v1/jobs", json=make_body(), headers=headers).status_code == 410


def test_many_threads_with_one_key_open_one_job(
    server: httpx.Client, board: Board, settings: Settings
) -> None:
    def submit(_: int) -> httpx.Response:
        return server.post("/v1/jobs", json=make_body(), headers={"Idempotency-Key": "race"})

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(submit, range(24)))

    assert {a.status_code for a in answers} == {202}
    assert (
        len({a.json()["id"] for a in answers})
        == len(list(board.jobs.newest_first()))
        == tickets(settings)
        == 1
    )
    assert sum("Idempotency-Replayed" not in a.headers for a in answers) == 1


def test_beyond_the_most_jobs_a_submit_is_told_to_wait(
    board: Board, store: Store, settings: Settings
) -> None:
    board.registry.put_card(make_card())
    add_corpus(board, store)
    http = create_app(replace(settings, max_active_jobs=1)).test_client()
    http.post("/v1/jobs", json=make_body())

    answer = http.post("/v1/jobs", json=make_body())

    assert (answer.status_code, answer.get_json()["code"]) == (429, "too_many_jobs")
    assert int(answer.headers["Retry-After"]) > 0


def test_a_job_whose_ticket_cannot_be_sent_is_accepted_all_the_same(
    services: Services, http: FlaskClient, settings: Settings
) -> None:
    services.queue.conf.broker_url = "redis+socket:///nowhere.sock"

    answer = http.post("/v1/jobs", json=make_body())

    assert (answer.status_code, tickets(settings)) == (202, 0)


def test_a_submit_that_waits_answers_200_when_the_job_ends(
    server: httpx.Client, board: Board
) -> None:
    def finish() -> None:
        while not board.jobs.list_active():
            time.sleep(0.02)
        run_job(board, board.jobs.list_active()[0])

    worker = threading.Thread(target=finish)
    worker.start()
    answer = server.post("/v1/jobs", json=make_body(), headers={"Prefer": "wait=10"})
    worker.join()

    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert answer.headers["Preference-Applied"] == "wait=10"


def test_a_submit_that_waits_in_vain_answers_202(http: FlaskClient) -> None:
    answer = http.post("/v1/jobs", json=make_body(), headers={"Prefer": "wait=1"})

    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "wait=1")


def test_a_job_shows_its_progress(http: FlaskClient, board: Board) -> None:
    job = open_job(board)
    lease = take_unit(board, job.id, "plan", lease_s=30)
    assert lease is not None
    board.units.finish(
        job.id,
        "plan",
        fields={
            "tokens_total": 1000,
            "shards_total": 2,
            "layers_total": 4,
            "phase": "scanning",
            "scan_began_at": "@now",
        },
    )
    board.units.finish(job.id, "scan:0", counter="shards_done", tokens=250)

    found = http.get(f"/v1/jobs/{job.id}").get_json()

    progress = found["progress"]
    assert (found["status"], found["phase"]) == ("running", "scanning")
    assert (progress["done"], progress["total"], progress["fraction"]) == (250, 1000, 0.25)
    assert progress["shards"] == {"done": 1, "total": 2}
    assert progress["eta_seconds"] == pytest.approx(750 / progress["tokens_per_second"], abs=0.1)


def test_after_the_last_token_no_time_left_is_told_until_a_layer_is_merged(
    http: FlaskClient, board: Board
) -> None:
    job = open_job(board)
    take_unit(board, job.id, "plan", lease_s=30)
    fields = {"tokens_total": 100, "shards_total": 1, "layers_total": 4, "scan_began_at": "@now"}
    board.units.finish(job.id, "plan", fields=fields)
    board.jobs.set_phase(job.id, "scanning")
    board.units.finish(
        job.id, "scan:0", counter="shards_done", tokens=100, fields={"scan_ended_at": "@now"}
    )

    def left() -> float | None:
        found: float | None = http.get(f"/v1/jobs/{job.id}").get_json()["progress"]["eta_seconds"]
        return found

    untold = [left()]
    board.jobs.set_phase(job.id, "calibrating")
    untold.append(left())
    board.jobs.set_phase(job.id, "merging")
    untold.append(left())
    time.sleep(0.2)
    board.units.finish(job.id, "merge:0", counter="layers_done")
    told = left()
    board.jobs.set_phase(job.id, "closing")
    assert [*untold, left()] == [None, None, None, None]
    assert told is not None
    assert told >= 0.6


def test_a_job_says_what_it_took_over_from_others(http: FlaskClient, board: Board) -> None:
    whole = http.post("/v1/jobs", json=make_body()).get_json()
    asked = http.post("/v1/jobs", json=make_body(reuse=False)).get_json()
    board.units.finish(whole["id"], "plan", fields={"reused": '{"job_b": [0, 1, 2], "job_a": [5]}'})

    found = http.get(f"/v1/jobs/{whole['id']}").get_json()

    assert (whole["reused"], whole["request"]["reuse"], asked["request"]["reuse"]) == (
        None,
        True,
        False,
    )
    assert found["reused"] == {"layers": "0-2,5", "jobs": ["job_b", "job_a"]}


def test_times_are_rfc_3339(http: FlaskClient, done: Job) -> None:
    found = http.get(f"/v1/jobs/{done.id}").get_json()

    for name in ("created_at", "started_at", "finished_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found[name])
    assert found["expires_at"] is None


def test_the_poll_that_sees_a_job_ended_loads_its_result(
    http: FlaskClient, done: Job, store: Store
) -> None:
    http.get(f"/v1/jobs/{done.id}")
    here: Services = http.application.extensions[KEY]
    here.results._loader.submit(len, "").result(timeout=60)  # what it was given before is done
    store.delete(Layout.result(done.id))

    assert http.get(f"/v1/jobs/{done.id}/neurons").status_code == 200


def test_a_failed_job_says_why(http: FlaskClient, board: Board) -> None:
    job = run_job(board, open_job(board).id, status="failed")

    found = http.get(f"/v1/jobs/{job.id}").get_json()

    assert found["error"] == {"code": "analysis_failed", "detail": "it did not work"}


def test_a_tag_that_holds_is_304_and_one_that_does_not_is_200(
    http: FlaskClient, board: Board
) -> None:
    job = open_job(board)
    tag = http.get(f"/v1/jobs/{job.id}").headers["ETag"]

    same = http.get(f"/v1/jobs/{job.id}", headers={"If-None-Match": tag})
    board.jobs.set_phase(job.id, "planning")
    changed = http.get(f"/v1/jobs/{job.id}", headers={"If-None-Match": tag})

    assert (same.status_code, same.data, same.headers["ETag"]) == (304, b"", tag)
    assert "Retry-After" in same.headers
    assert (changed.status_code, changed.get_json()["phase"]) == (200, "planning")


def test_a_long_poll_answers_when_the_revision_changes(http: FlaskClient, board: Board) -> None:
    job = open_job(board)
    tag = http.get(f"/v1/jobs/{job.id}").headers["ETag"]
    threading.Timer(0.4, board.jobs.set_phase, (job.id, "planning")).start()

    started = time.monotonic()
    answer = http.get(f"/v1/jobs/{job.id}", headers={"If-None-Match": tag, "Prefer": "wait=20"})
    took = time.monotonic() - started

    assert (answer.status_code, answer.get_json()["phase"]) == (200, "planning")
    assert 0.3 < took < 5


def test_a_long_poll_without_a_change_is_304(http: FlaskClient, board: Board) -> None:
    job = open_job(board)
    tag = http.get(f"/v1/jobs/{job.id}").headers["ETag"]

    answer = http.get(f"/v1/jobs/{job.id}", headers={"If-None-Match": tag, "Prefer": "wait=1"})

    assert (answer.status_code, answer.headers["Preference-Applied"]) == (304, "wait=1")


def test_a_long_poll_of_a_job_that_ended_does_not_wait(http: FlaskClient, done: Job) -> None:
    tag = http.get(f"/v1/jobs/{done.id}").headers["ETag"]

    started = time.monotonic()
    answer = http.get(f"/v1/jobs/{done.id}", headers={"If-None-Match": tag, "Prefer": "wait=20"})

    assert answer.status_code == 304
    assert time.monotonic() - started < 5
    assert "Retry-After" not in answer.headers


def test_waiters_leave_half_of_the_threads_to_others(board: Board, settings: Settings) -> None:
    http = create_app(replace(settings, api_threads=4)).test_client
    job = open_job(board)

    def poll(_: int) -> tuple[bool, float]:
        started = time.monotonic()
        answer = http().get(f"/v1/jobs/{job.id}", headers={"Prefer": "wait=2"})
        return "Preference-Applied" in answer.headers, time.monotonic() - started

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(poll, range(6)))

    assert sum(waited for waited, _ in found) == 2
    assert all(took < 1.5 for waited, took in found if not waited)


def test_pages_of_jobs_are_the_whole_list_newest_first(http: FlaskClient, board: Board) -> None:
    jobs = [open_job(board).id for _ in range(7)]

    found, path = [], "/v1/jobs?limit=3"
    while path:
        answer = http.get(path)
        found += [j["id"] for j in answer.get_json()["data"]]
        link = re.match("<(.+)>", answer.headers.get("Link", ""))
        path = link[1] if link else ""

    assert found == jobs[::-1]
    assert answer.get_json()["next_cursor"] is None


def test_a_page_of_large_jobs_is_shorter_and_the_list_goes_on(
    http: FlaskClient, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_routes, "_PAGE_BYTES", 20_000)
    large = make_request(neurons={"indices": ",".join(map(str, range(0, 6000, 2)))})
    jobs = [board.jobs.open(large).job for _ in range(5)]

    found, sizes, path = [], [], "/v1/jobs?limit=100"
    while path:
        answer = http.get(path)
        found += [j["id"] for j in answer.get_json()["data"]]
        sizes.append(len(answer.get_json()["data"]))
        link = re.match("<(.+)>", answer.headers.get("Link", ""))
        path = link[1] if link else ""

    assert found == jobs[::-1]
    assert sizes == [2, 2, 1]


def test_a_damaged_record_is_left_out_of_the_list_named_alone_and_deleted_like_any(
    http: FlaskClient, board: Board
) -> None:
    sound, broken = open_job(board).id, open_job(board).id
    board._redis.hset(f"polyseme:job:{broken}", "request", "{")

    assert [j["id"] for j in http.get("/v1/jobs").get_json()["data"]] == [sound]
    alone = http.get(f"/v1/jobs/{broken}")
    assert (alone.status_code, alone.get_json()["code"]) == (500, "damaged_record")
    assert http.delete(f"/v1/jobs/{broken}").status_code == 409
    board.jobs.end(broken, "failed", {"code": "damaged_record", "detail": "d"})
    assert http.delete(f"/v1/jobs/{broken}").status_code == 204
    assert http.get(f"/v1/jobs/{broken}").status_code == 404


def test_a_request_that_would_fill_redis_is_refused_with_what_is_allowed(
    settings: Settings, board: Board, store: Store
) -> None:
    add_corpus(board, store)
    site = SiteCard("mlp", 200_000, "blocks.{layer}.mlp.hook_post", signed=True)
    board.registry.put_card(make_card(sites=(site,)))
    scattered = ",".join(map(str, range(0, 20_000, 2)))
    http = create_app(replace(settings, max_record_bytes=50_000)).test_client()

    answer = http.post("/v1/jobs", json=make_body(neurons={"indices": scattered}))

    assert answer.status_code == 422
    [error] = answer.get_json()["errors"]
    assert error["pointer"] == "/neurons/indices"
    assert "at most 50000" in error["detail"]
    assert list(board.jobs.newest_first()) == []


def test_jobs_are_filtered_and_the_cursor_remembers_by_what(
    http: FlaskClient, board: Board
) -> None:
    ended = [run_job(board, open_job(board).id).id for _ in range(3)]
    open_job(board)

    first = http.get("/v1/jobs?status=succeeded&limit=2").get_json()
    rest = http.get(f"/v1/jobs?status=succeeded&limit=2&cursor={first['next_cursor']}").get_json()
    other = http.get(f"/v1/jobs?status=queued&cursor={first['next_cursor']}")

    assert [j["id"] for j in first["data"] + rest["data"]] == ended[::-1]
    assert (other.status_code, other.get_json()["code"]) == (400, "bad_cursor")
    assert http.get("/v1/jobs?model=other").get_json()["data"] == []


def test_a_job_nobody_works_on_is_cancelled_at_once(
    http: FlaskClient, board: Board, store: Store
) -> None:
    job = open_job(board)
    store.write(f"{Layout.work(job.id)}/plan.json", b"{}")

    answer = http.post(f"/v1/jobs/{job.id}/cancel")

    assert (answer.status_code, answer.get_json()["status"]) == (202, "cancelled")
    assert not store.exists(Layout.work(job.id))


def test_a_job_that_a_worker_holds_is_cancelled_by_the_worker(
    http: FlaskClient, board: Board
) -> None:
    job = open_job(board)
    lease = take_unit(board, job.id, "plan", lease_s=30)
    assert lease is not None

    answer = http.post(f"/v1/jobs/{job.id}/cancel")

    assert (answer.status_code, answer.get_json()["status"]) == (202, "cancelling")
    assert board.units.renew(lease, lease_s=30) == "cancelling"


def test_cancelling_a_job_that_ended_changes_nothing(
    http: FlaskClient, done: Job, store: Store
) -> None:
    answer = http.post(f"/v1/jobs/{done.id}/cancel")

    assert (answer.status_code, answer.get_json()["status"]) == (200, "succeeded")
    assert store.exists(Layout.result(done.id))


def test_a_deleted_job_is_gone_with_its_files(http: FlaskClient, done: Job, store: Store) -> None:
    http.get(f"/v1/jobs/{done.id}/neurons/0/0")

    answer = http.delete(f"/v1/jobs/{done.id}")

    assert (answer.status_code, answer.data) == (204, b"")
    assert http.get(f"/v1/jobs/{done.id}").status_code == 404
    assert http.get(f"/v1/jobs/{done.id}/neurons/0/0").status_code == 404
    assert not store.exists(Layout.result(done.id))


def test_redis_away_is_503_and_its_return_is_noticed(
    settings: Settings, board: Board, http: FlaskClient
) -> None:
    job = open_job(board)
    client = redis.Redis.from_url(settings.redis_url)
    client.execute_command("CLIENT", "PAUSE", "7000", "ALL")  # longer than the service waits

    away = http.get(f"/v1/jobs/{job.id}")

    assert (away.status_code, away.get_json()["code"]) == (503, "unavailable")
    assert int(away.headers["Retry-After"]) > 0
    time.sleep(3)
    assert http.get(f"/v1/jobs/{job.id}").status_code == 200


def test_a_job_with_a_result_in_another_process_is_read(
    http: FlaskClient, board: Board, store: Store
) -> None:
    job = open_job(board)
    assert http.get(f"/v1/jobs/{job.id}/neurons").status_code == 409

    write_result(store, job.id)
    run_job(board, job.id)

    assert http.get(f"/v1/jobs/{job.id}/neurons").status_code == 200


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "60", 10**9, True])
def test_a_deadline_is_a_number_of_seconds(http: FlaskClient, wrong: object) -> None:
    refused = http.post("/v1/jobs", json=make_body(deadline_s=wrong))
    taken = http.post("/v1/jobs", json=make_body(deadline_s=60))

    assert (refused.status_code, refused.json["errors"][0]["pointer"]) == (422, "/deadline_s")
    assert taken.json["request"]["deadline_s"] == 60


def test_jobs_are_found_by_a_pair_of_their_metadata(http: FlaskClient) -> None:
    for name in ("a=b", "other"):
        body = make_body(contexts={"top_k": 20}, metadata={"name": name})
        assert http.post("/v1/jobs", json=body).status_code == 202

    found = http.get("/v1/jobs", query_string={"metadata": "name=a=b"}).get_json()["data"]
    refused = http.get("/v1/jobs?metadata=name")

    assert [job["metadata"] for job in found] == [{"name": "a=b"}]
    assert (refused.status_code, refused.get_json()["errors"][0]["pointer"]) == (422, "/metadata")
