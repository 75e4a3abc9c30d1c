from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
from typing import Any

import pyarrow.parquet as pq
import pytest
from flask.testing import FlaskClient

from polyseme.contract.board.board import Board
from polyseme.contract.files.results import NEURONS, SUMMARY, TOKENS, report_file
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.records.job import Job
from polyseme.service.context import Services
from tests.factories import MODEL, make_manifest, open_job, run_job, write_result


def test_links_lead_through_all_neurons_once(http: FlaskClient, done: Job) -> None:
    seen, path = [], f"/v1/jobs/{done.id}/neurons?sort=-max&limit=50&fields=layer,neuron,max"
    while path:
        answer = http.get(path)
        seen += [(r["layer"], r["neuron"]) for r in answer.get_json()["data"]]
        link = re.match("<(.+)>", answer.headers.get("Link", ""))
        path = link[1] if link else ""

    assert len(seen) == len(set(seen)) == answer.get_json()["total"] == 192


def test_a_list_has_rows_a_total_and_a_cursor(http: FlaskClient, done: Job) -> None:
    found = http.get(f"/v1/jobs/{done.id}/neurons?layer=1-2&limit=10").get_json()

    assert (found["object"], len(found["data"]), found["total"]) == ("list", 10, 96)
    assert {r["layer"] for r in found["data"]} == {1}
    assert "peak_token_ids" not in found["data"][0]


def test_a_neuron_and_a_page_are_not_sent_again_to_who_has_them(
    http: FlaskClient, done: Job, board: Board, store: Store
) -> None:
    other = open_job(board)
    write_result(store, other.id)
    run_job(board, other.id)
    for path in ("neurons/1/2", "neurons?sort=-max&limit=3"):
        first = http.get(f"/v1/jobs/{done.id}/{path}")
        tag = {"If-None-Match": first.headers["ETag"]}

        again = http.get(f"/v1/jobs/{done.id}/{path}", headers=tag)

        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
        assert http.get(f"/v1/jobs/{other.id}/{path}", headers=tag).status_code == 200
    anything = {"If-None-Match": "*"}
    assert http.get(f"/v1/jobs/{done.id}/neurons/9/9", headers=anything).status_code == 404


def test_rows_are_found_by_their_meaning_and_have_it(http: FlaskClient, done: Job) -> None:
    rows, total = list_rows(http, done, "meaning=NOT+ASKED&fields=layer,meaning&limit=2")

    assert total == 192
    assert rows[0] == {"layer": 0, "meaning": "Senses were not asked for."}
    assert list_rows(http, done, "meaning=prepositions")[1] == 0


def test_a_page_may_change_its_size_on_the_way(http: FlaskClient, done: Job) -> None:
    path = f"/v1/jobs/{done.id}/neurons?sort=std"
    first = http.get(f"{path}&limit=2").get_json()

    rest = http.get(f"{path}&limit=1000&cursor={first['next_cursor']}").get_json()

    assert len(first["data"] + rest["data"]) == 192


def list_rows(http: FlaskClient, job: Job, query: str) -> tuple[list[dict[str, Any]], int]:
    """Of one page, and how many there are on all."""
    found = http.get(f"/v1/jobs/{job.id}/neurons?{query}").get_json()
    return found["data"], found["total"]


def test_a_page_asked_for_again_is_not_read_again(
    http: FlaskClient, done: Job, services: Services
) -> None:
    path = f"/v1/jobs/{done.id}/neurons?sort=-max&limit=5"
    first = http.get(path).get_json()
    services.results._scalars.drop(lambda _: True)

    again = http.get(path).get_json()

    assert done.id not in services.results._scalars
    assert (again["data"], again["total"]) == (first["data"], 192)
    assert (
        list_rows(http, done, f"sort=-max&limit=5&cursor={again['next_cursor']}")[0][0]
        not in first["data"]
    )


def test_a_kept_page_answers_its_own_query_alone(
    http: FlaskClient, done: Job, board: Board, store: Store
) -> None:
    other = open_job(board)
    write_result(store, other.id, seed=7)
    run_job(board, other.id)
    queries = ["limit=3", "limit=4", "limit=3&sort=-max", "limit=3&layer=2", "limit=3&fields=max"]

    answers = [list_rows(http, job, q) for job in (done, other) for q in queries]

    assert [answers.count(a) for a in answers] == [1] * 10
    assert [list_rows(http, job, q) for job in (done, other) for q in queries] == answers


def test_a_job_forgotten_by_another_process_is_not_answered_from_kept_pages(
    http: FlaskClient, done: Job, board: Board
) -> None:
    assert list_rows(http, done, "limit=3")[1] == 192

    board.jobs.delete_record(done.id)

    assert http.get(f"/v1/jobs/{done.id}/neurons?limit=3").status_code == 404


def test_a_deleted_job_leaves_no_page_behind(
    http: FlaskClient, done: Job, services: Services
) -> None:
    list_rows(http, done, "limit=3")

    http.delete(f"/v1/jobs/{done.id}")

    assert http.get(f"/v1/jobs/{done.id}/neurons?limit=3").status_code == 404
    assert services.results._pages.weight == 0


def test_a_token_is_found_through_http(http: FlaskClient, done: Job) -> None:
    found = http.get(
        f"/v1/jobs/{done.id}/neurons", query_string={"token": " river ", "limit": 1000}
    ).get_json()

    assert 0 < found["total"] < 192


def test_a_report_is_whole(http: FlaskClient, done: Job, store: Store) -> None:
    row = pq.read_table(store.local_path(f"{Layout.result(done.id)}/{report_file(2)}")).to_pylist()[
        17
    ]

    found = http.get(f"/v1/jobs/{done.id}/neurons/2/17").get_json()

    assert (found["layer"], found["neuron"], found["hook"]) == (2, 17, "blocks.2.mlp.hook_post")
    assert found["stats"]["mean"] == row["mean"]
    assert [c["activation"] for c in found["contexts"]] == [
        c["activation"] for c in row["contexts"]
    ]
    assert found["links"]["manifest"] == f"/v1/jobs/{done.id}/manifest"
    assert found["model"] == MODEL


def test_summary_and_manifest_come_as_they_are_stored(
    http: FlaskClient, done: Job, store: Store
) -> None:
    for name in ("summary", "manifest"):
        answer = http.get(f"/v1/jobs/{done.id}/{name}")

        assert answer.data == store.read(f"{Layout.result(done.id)}/{name}.json")
        assert answer.content_type == "application/json"


@pytest.fixture
def beside(board: Board, store: Store, done: Job) -> Job:
    """Another job over the same text."""
    job = open_job(board)
    write_result(store, job.id, senses=True, layers=(1, 2))
    return run_job(board, job.id)


def test_two_results_stand_beside_each_other(http: FlaskClient, done: Job, beside: Job) -> None:
    found = http.get(f"/v1/jobs/{beside.id}/summary?beside={done.id}").get_json()

    assert (found["object"], found["text"]["window"]) == ("comparison", 128)
    assert [r["job"] for r in found["results"]] == [beside.id, done.id]
    assert [r["neurons"]["units"] for r in found["results"]] == [96, 192]
    assert found["results"][0]["controls"]["units"] == 16
    assert len(found["edges"]) == 51
    assert found["says"]


def test_a_result_over_another_text_is_refused_with_both_values(
    http: FlaskClient, done: Job, beside: Job, store: Store, services: Services
) -> None:
    write_result(store, beside.id, manifest=make_manifest(contexts={"window": 64}))
    services.results.forget(beside.id)

    answer = http.get(f"/v1/jobs/{done.id}/summary?beside={beside.id}")

    assert (answer.status_code, answer.json["code"]) == (409, "other_text")
    assert "Retry-After" not in answer.headers
    assert answer.json["errors"] == [
        {"pointer": "/request/contexts/window", "detail": "window: 128 and 64"}
    ]
    assert done.id in answer.json["detail"]


def test_a_result_is_not_set_beside_itself(http: FlaskClient, done: Job) -> None:
    answer = http.get(f"/v1/jobs/{done.id}/summary?beside={done.id}")

    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/beside")
    assert "name another" in answer.json["detail"]


@pytest.mark.parametrize("name", ["job_1", "", f"job_{'0' * 28}%0a", f"JOB_{'0' * 28}"])
def test_what_is_no_job_id_is_set_beside_nothing(http: FlaskClient, done: Job, name: str) -> None:
    answer = http.get(f"/v1/jobs/{done.id}/summary?beside={name}")

    assert (answer.status_code, answer.json["errors"]) == (
        422,
        [{"pointer": "/beside", "detail": "no job id: job_ and 28 hex digits"}],
    )


def test_a_job_without_a_result_is_set_beside_nothing(
    http: FlaskClient, done: Job, board: Board, store: Store
) -> None:
    failed = run_job(board, open_job(board).id, status="failed").id
    lost = run_job(board, open_job(board).id).id
    cases = {
        open_job(board).id: (409, "job_not_finished"),
        failed: (409, "job_not_finished"),
        lost: (410, "gone"),
        f"job_{'0' * 28}": (404, "not_found"),
    }
    for job, expected in cases.items():
        for path in (f"{done.id}/summary?beside={job}", f"{job}/summary?beside={done.id}"):
            answer = http.get(f"/v1/jobs/{path}")
            assert (answer.status_code, answer.json["code"]) == expected
            assert job in answer.json["detail"]


def test_an_expired_job_is_set_beside_nothing(
    http: FlaskClient, done: Job, beside: Job, board: Board
) -> None:
    board.jobs._redis.hset(board.jobs._keys.job(beside.id), "expires_at", "1")

    answer = http.get(f"/v1/jobs/{done.id}/summary?beside={beside.id}")

    assert (answer.status_code, answer.json["code"]) == (410, "gone")
    assert f"{beside.id} has expired" in answer.json["detail"]


def test_a_job_that_failed_has_no_result_and_waiting_would_not_help(
    http: FlaskClient, board: Board
) -> None:
    job = run_job(board, open_job(board).id, status="failed")

    answer = http.get(f"/v1/jobs/{job.id}/summary")

    assert (answer.status_code, answer.get_json()["code"]) == (409, "job_not_finished")
    assert "Retry-After" not in answer.headers


def test_a_job_that_runs_says_when_to_ask_again(http: FlaskClient, board: Board) -> None:
    answer = http.get(f"/v1/jobs/{open_job(board).id}/neurons")

    assert (answer.status_code, answer.headers["Retry-After"]) == (409, "2")


def test_a_result_that_was_lost_is_gone(http: FlaskClient, done: Job, store: Store) -> None:
    store.delete(Layout.result(done.id))

    assert http.get(f"/v1/jobs/{done.id}/summary").status_code == 410


@pytest.mark.parametrize("name", [SUMMARY, NEURONS, TOKENS, report_file(2)])
@pytest.mark.parametrize("content", [None, b"short"])
def test_a_result_that_is_damaged_has_a_code_of_its_own(
    http: FlaskClient, done: Job, store: Store, name: str, content: bytes | None
) -> None:
    path = f"{Layout.result(done.id)}/{name}"
    if content is None:
        store.delete(path)
    else:
        store.write(path, content)

    for part in ("summary", "manifest", "neurons", "neurons/0/1", "export?format=parquet"):
        answer = http.get(f"/v1/jobs/{done.id}/{part}")
        assert (answer.status_code, answer.json["code"]) == (409, "result_damaged"), part
        assert name in answer.json["detail"]
        assert "Retry-After" not in answer.headers
    assert http.get(f"/v1/jobs/{done.id}").json["status"] == "succeeded"


def test_an_export_is_a_zip_of_parquet(http: FlaskClient, done: Job) -> None:
    answer = http.get(f"/v1/jobs/{done.id}/export?format=parquet&layer=0-1")

    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert f"{done.id}/{NEURONS}" in archive.namelist()
        assert f"{done.id}/{report_file(2)}" not in archive.namelist()
        assert pq.read_table(io.BytesIO(archive.read(f"{done.id}/{report_file(1)}"))).num_rows == 48


def test_one_file_of_an_export_is_that_file(http: FlaskClient, done: Job, store: Store) -> None:
    scalars = http.get(f"/v1/jobs/{done.id}/export?format=parquet&file=neurons")
    report = http.get(f"/v1/jobs/{done.id}/export?format=parquet&file=reports&layer=3")
    unclear = http.get(f"/v1/jobs/{done.id}/export?format=parquet&file=reports")

    assert scalars.data == store.read(f"{Layout.result(done.id)}/{NEURONS}")
    assert report.data == store.read(f"{Layout.result(done.id)}/{report_file(3)}")
    assert unclear.status_code == 422


def test_lines_are_the_reports_that_the_pages_show(http: FlaskClient, done: Job) -> None:
    answer = http.get(f"/v1/jobs/{done.id}/export?format=ndjson&layer=1")

    lines = [json.loads(line) for line in answer.data.splitlines()]
    assert len(lines) == 48
    assert lines[9] == http.get(f"/v1/jobs/{done.id}/neurons/1/9").get_json()


def test_lines_are_gzipped_for_who_takes_it(http: FlaskClient, done: Job) -> None:
    path = f"/v1/jobs/{done.id}/export?format=ndjson"
    packed = http.get(path, headers={"Accept-Encoding": "gzip"})
    plain = http.get(path)

    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"


def test_control_units_are_listed_like_neurons(
    http: FlaskClient, board: Board, store: Store
) -> None:
    job = open_job(board).id
    write_result(store, job, senses=True)
    run_job(board, job)
    seen, path = [], f"/v1/jobs/{job}/controls?layer=1-2&sort=-coverage&limit=5"
    while path:
        answer = http.get(path)
        seen += answer.json["data"]
        link = re.match("<(.+)>", answer.headers.get("Link", ""))
        path = link[1] if link else ""

    assert len({(c["layer"], c["ghost"]) for c in seen}) == answer.json["total"] == 16
    assert [c["coverage"] for c in seen] == sorted((c["coverage"] for c in seen), reverse=True)
    few = http.get(f"/v1/jobs/{job}/controls?min_coverage=0.5&fields=layer,ghost,coverage").json
    assert few["data"] == [
        {name: c[name] for name in ("layer", "ghost", "coverage")}
        for c in http.get(f"/v1/jobs/{job}/controls").json["data"]
        if c["coverage"] >= 0.5
    ]


def test_a_list_of_control_units_knows_its_own_columns(http: FlaskClient, done: Job) -> None:
    for query in ("sort=neuron", "fields=hook", "neuron=3", "token=a"):
        assert http.get(f"/v1/jobs/{done.id}/controls?{query}").status_code == 422, query


def test_a_result_may_have_no_control_units(http: FlaskClient, done: Job) -> None:
    found = http.get(f"/v1/jobs/{done.id}/controls").json

    assert (found["data"], found["total"], found["next_cursor"]) == ([], 0, None)
    export = http.get(f"/v1/jobs/{done.id}/export?format=parquet&file=ghosts")
    assert export.status_code == 404


def test_a_cursor_of_neurons_is_none_of_control_units(http: FlaskClient, done: Job) -> None:
    cursor = http.get(f"/v1/jobs/{done.id}/neurons?limit=2").json["next_cursor"]

    answer = http.get(f"/v1/jobs/{done.id}/controls", query_string={"cursor": cursor})

    assert (answer.status_code, answer.json["code"]) == (400, "bad_cursor")
