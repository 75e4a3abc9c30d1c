"""The API while the store is away: it says so, and changes nothing in what lies there instead."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.records.job import Job
from polyseme.contract.settings import Settings
from polyseme.service.app import STORE_WAIT_S, create_app
from tests.factories import open_job
from tests.store_faults import Fault, broken, may_mount, on_tmpfs, unmounted

FAULTS = [pytest.param(f, id=f.__name__) for f in (unmounted, broken)]


@pytest.fixture
def folder(settings: Settings) -> Path:
    return Path(settings.store)


@pytest.mark.parametrize("fault", FAULTS)
def test_it_is_not_ready_and_is_again(http: FlaskClient, folder: Path, fault: Fault) -> None:
    assert http.get("/livez").status_code == 200
    with fault(folder):
        answer = http.get("/readyz")
        assert (answer.status_code, answer.get_json()["code"]) == (503, "unavailable")
        assert "store is away" in answer.get_json()["detail"]
        assert str(folder) not in answer.text
        assert http.get("/livez").status_code == 200


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", ["json", "lines"])
def test_an_upload_is_to_be_sent_again_and_can_be(
    http: FlaskClient, folder: Path, fault: Fault, kind: str
) -> None:
    def upload() -> int:
        if kind == "json":
            return http.post("/v1/corpora", json={"name": "late", "texts": ["a b"]}).status_code
        return http.post(
            "/v1/corpora?name=late", data=b"a b\n", content_type="text/plain"
        ).status_code

    with fault(folder):
        assert upload() == 503
        assert http.get("/v1/corpora/late").status_code == 404
    assert upload() == 201


@pytest.mark.skipif(not may_mount(), reason="needs root")
def test_an_upload_to_a_full_store_says_so_and_can_be_sent_again(
    settings: Settings, folder: Path
) -> None:
    with on_tmpfs(folder, "1m"):
        http = create_app(settings).test_client()
        (folder / "ballast").write_bytes(b"x" * ((1 << 20) - 16384))
        texts = [secrets.token_hex(1000) for _ in range(20)]
        answer = http.post("/v1/corpora", json={"name": "late", "texts": texts})
        assert (answer.status_code, answer.json["code"]) == (507, "store_full")
        assert str(folder) not in answer.text
        assert http.get("/v1/corpora/late").status_code == 404
        assert http.get("/readyz").status_code == 503
        (folder / "ballast").unlink()
        assert http.post("/v1/corpora", json={"name": "late", "texts": texts}).status_code == 201


@pytest.mark.parametrize("fault", FAULTS)
def test_a_submit_with_texts_is_to_be_sent_again(
    http: FlaskClient, folder: Path, fault: Fault
) -> None:
    body = {"model": "tiny-gated", "corpus": {"texts": ["the river bank " * 9] * 70}}
    with fault(folder):
        answer = http.post("/v1/jobs", json=body)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert http.post("/v1/jobs", json=body).status_code == 202


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("path", ["neurons", "neurons/3/5", "summary", "export?format=parquet"])
def test_a_result_is_not_said_to_be_gone(
    http: FlaskClient, folder: Path, done: Job, fault: Fault, path: str
) -> None:
    with fault(folder):
        assert http.get(f"/v1/jobs/{done.id}/{path}").status_code == 503
    assert http.get(f"/v1/jobs/{done.id}/{path}").status_code == 200


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_deleted_meanwhile_is_removed_later(
    http: FlaskClient, board: Board, store: Store, folder: Path, done: Job, fault: Fault
) -> None:
    with fault(folder):
        assert http.delete(f"/v1/jobs/{done.id}").status_code == 503
        assert http.delete("/v1/corpora/notes").status_code == 503
    assert store.exists(Layout.result(done.id))
    assert board.jobs.files_to_delete(for_s=0) == [("default", done.id)]
    assert http.get("/v1/corpora/notes").status_code == 200
    assert http.delete("/v1/corpora/notes").status_code == 204


def test_a_job_that_waits_for_the_store_says_so(http: FlaskClient, board: Board) -> None:
    job = open_job(board).id
    board.workers.announce("w1", ttl_s=30)
    assert http.get(f"/v1/jobs/{job}").get_json()["warning"] is None

    board.jobs.note_store_away(job)

    assert "store is away since 20" in http.get(f"/v1/jobs/{job}").get_json()["warning"]
    assert "polyseme_jobs_awaiting_store 1.0" in http.get("/metrics").text


def test_a_job_that_waits_for_another_worker_says_so(http: FlaskClient, board: Board) -> None:
    job = open_job(board).id
    board.workers.announce("w1", ttl_s=30)

    board.jobs.note_wait(job, "its record has version 9, this worker knows 1")

    warning = http.get(f"/v1/jobs/{job}").get_json()["warning"]
    assert "waits for another worker: its record has version 9" in warning
    assert "polyseme_jobs_awaiting_other_worker 1.0" in http.get("/metrics").text


def test_it_starts_while_the_store_is_away(settings: Settings, folder: Path, app: object) -> None:
    with unmounted(folder):
        http = create_app(settings).test_client()
        assert http.get("/livez").status_code == 200
        assert http.get("/readyz").status_code == 503
    assert STORE_WAIT_S < 5
