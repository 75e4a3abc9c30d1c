from __future__ import annotations

import redis
from flask.testing import FlaskClient

from polyseme.contract.board.board import Board
from polyseme.contract.board.outbox import Outbox
from polyseme.contract.files.store import Store
from polyseme.service.monitoring.metrics import Metrics
from tests.factories import make_body, open_job, run_job


def test_requests_are_counted_by_route_and_not_by_address(http: FlaskClient) -> None:
    for i in range(3):
        http.get(f"/v1/jobs/job_{i:028x}")

    text = http.get("/metrics").get_data(as_text=True)

    line = (
        'polyseme_http_requests_total{method="GET",route="/v1/jobs/<job:job_id>",status="404"} 3.0'
    )
    assert line in text


def test_jobs_workers_and_the_queue_are_told(http: FlaskClient, board: Board) -> None:
    jobs = [open_job(board).id for _ in range(2)]
    run_job(board, open_job(board, webhook={"url": "https://example.org/"}).id)
    board.workers.announce("w1", ttl_s=30)
    board.units.claim(jobs[0], ["scan:0"], room=4, patience_s=30, priority="high")
    board.units.claim(
        jobs[1], ["scan:0", "scan:1"], room=4, patience_s=30, queue="big", priority="low"
    )

    text = http.get("/metrics").get_data(as_text=True)

    assert "polyseme_active_jobs 2.0" in text
    assert "polyseme_workers 1.0" in text
    assert "polyseme_webhooks_pending 1.0" in text
    assert 'polyseme_queue_units{priority="high",queue="default"} 1.0' in text
    assert 'polyseme_queue_units{priority="low",queue="big"} 2.0' in text
    assert 'polyseme_queue_workers{queue="default"} 1.0' in text
    assert 'polyseme_queue_workers{queue="big"} 0.0' in text


def test_a_submitted_job_is_a_ticket(http: FlaskClient) -> None:
    http.post("/v1/jobs", json=make_body())

    text = http.get("/metrics").get_data(as_text=True)
    assert 'polyseme_queue_units{priority="normal",queue="default"} 1.0' in text


def test_metrics_come_even_when_the_board_is_away(store: Store) -> None:
    client = redis.Redis(unix_socket_path="/nowhere.sock", decode_responses=True)

    assert (
        b"polyseme_board_up 0.0"
        in Metrics(Board(client), store, Outbox(client), patience_s=600).render()
    )
