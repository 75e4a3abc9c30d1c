from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from flask.testing import FlaskClient

from polyseme.contract.board.board import Board
from polyseme.contract.settings import Settings
from polyseme.service.app import create_app


def test_a_live_process_says_so(http: FlaskClient) -> None:
    assert http.get("/livez").get_json() == {"status": "live"}


def test_readiness_counts_workers_and_leaves_no_files(
    http: FlaskClient, board: Board, settings: Settings
) -> None:
    board.workers.announce("w1", ttl_s=30)

    assert http.get("/readyz").get_json() == {
        "status": "ready",
        "workers": 1,
        "queues": {"default": 1},
    }
    assert list(Path(settings.store, "probes").iterdir()) == []


def test_a_store_that_takes_no_files_is_not_ready(
    redis_url: str, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    http = create_app(replace(settings, store=str(tmp_path / "file"))).test_client()

    answer = http.get("/readyz")

    assert (answer.status_code, answer.get_json()["code"]) == (503, "unavailable")
    assert "store" in answer.get_json()["detail"]


def test_only_who_may_read_is_told_the_names_of_queues(
    http: FlaskClient, board: Board, key: str
) -> None:
    board.workers.announce("w1", ttl_s=30, queues=("secret-project",))

    stranger = http.get("/readyz").get_json()
    known = http.get("/readyz", headers={"Authorization": f"Bearer {key}"}).get_json()

    assert stranger == {"status": "ready", "workers": 1}
    assert known["queues"] == {"secret-project": 1}
