"""A worker as a process of its own, told by its log and its metrics."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Store
from polyseme.contract.settings import Settings
from tests.client.standins import free_port
from tests.factories import add_corpus, make_card, open_job


def wait_for_metric(port: int, line: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if line in httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(line)


def test_all_that_a_worker_writes_is_json_and_its_metrics_are_served(
    board: Board, store: Store, redis_url: str, tmp_path: Path
) -> None:
    board.registry.put_card(make_card())
    add_corpus(board, store)
    job = open_job(board).id  # of a model that is not in the catalogue: refused
    (tmp_path / "models.toml").write_text("")
    settings = Settings(
        redis_url=redis_url,
        store=str(tmp_path / "store"),
        catalogue=str(tmp_path / "models.toml"),
        cache=str(tmp_path / "cache"),
        log_format="json",
        metrics_port=(port := free_port()),
    )
    with subprocess.Popen(
        [sys.executable, "-m", "polyseme.workers"],
        env=os.environ | settings.to_environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            wait_for_metric(port, 'polyseme_units_total{kind="plan",outcome="refused"} 1.0')
            process.send_signal(signal.SIGTERM)
            written, _ = process.communicate(timeout=60)
        finally:
            process.kill()  # otherwise a worker that came too late is waited for without an end

    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    others = [line for line in written.splitlines() if line and not line.startswith("{")]

    assert others == ["worker: Warm shutdown (MainProcess)"]  # Celery's, at SIGTERM

    begun, ended = (line for line in lines if line["logger"] == "polyseme.workers.observation")
    assert (begun["job"], begun["unit"], begun["attempt"]) == (job, "plan", 1)
    assert (ended["job"], ended["unit"], ended["outcome"]) == (job, "plan", "refused")
