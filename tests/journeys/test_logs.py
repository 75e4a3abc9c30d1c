"""What the processes write to their logs: neither keys, nor texts, nor addresses of webhooks, nor
where files lie.
"""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from polyseme import Polyseme
from tests.journeys.conftest import MODEL, prepare_data, running_stack

TEXT = "zebrafinch"  # stands in every text that is sent
KEY = "psk_" + "Qq7" * 14 + "Q"
HOOK = "hooksecret"
CONTEXTS = {"window": 32, "top_k": 5}


def attempts(url: str) -> list[httpx.Response]:
    """Requests that are refused, and one for each way to send a text."""
    body = {"model": MODEL, "corpus": {"texts": [f"{TEXT} {i}" for i in range(3)]}}
    headers = {"Authorization": f"Bearer {KEY}", "X-Api-Key": KEY}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as http:
        return [
            http.post("/v1/jobs", content=f'{{"model": "{TEXT}'),
            http.post(
                "/v1/jobs",
                content=f'{{"model": "{TEXT}',
                headers={"Content-Type": "application/json"},
            ),
            http.post("/v1/jobs", json=body | {"model": TEXT}),
            http.post("/v1/jobs", json=body | {TEXT: TEXT}),
            http.post("/v1/jobs", json=body | {"contexts": {"top_k": 1000}}),
            http.post("/v1/jobs", json=body | {"webhook": {"url": f"https://localhost/{HOOK}"}}),
            http.post(
                "/v1/corpora",
                content=f"{TEXT}\n".encode() + b"\xff",
                headers={"Content-Type": "text/plain"},
            ),
            http.post(
                "/v1/corpora",
                content=f'{{"txt": "{TEXT}"}}',
                headers={"Content-Type": "application/jsonl"},
            ),
            http.get("/v1/jobs", params={"cursor": TEXT, "key": KEY}),
            http.get(f"/v1/{TEXT}", params={"key": KEY}),
            http.get(
                "/v1/jobs", headers={"Prefer": f"wait={TEXT}", "X-Request-Id": f"{KEY} {TEXT}"}
            ),
            http.post(
                "/v1/activations", json={"job": "job_" + "0" * 28, "text": TEXT, "neurons": []}
            ),
        ]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return prepare_data(tmp_path / "data")


def test_logs_hold_no_keys_no_texts_and_no_webhooks(data: Path) -> None:
    with (
        running_stack(data, workers=1, webhook_allow="127.0.0.1", max_attempts=1) as stack,
        Polyseme(stack.url) as client,
    ):
        refused = [r for r in attempts(stack.url) if r.status_code >= 400]
        corpus = {
            "texts": [
                f"{TEXT} runs over {i} hills and {i + 1} dales, again and again" for i in range(40)
            ]
        }
        webhook = {"url": f"http://127.0.0.1:1/{HOOK}?token={HOOK}"}
        job = client.submit(
            {"model": MODEL, "corpus": corpus, "contexts": CONTEXTS, "webhook": webhook}
        )
        ended = client.wait(job)
        fail_at(data, client, webhook)
        time.sleep(1)
        logs = {p.name: p.read_text(errors="replace") for p in (data / "logs").iterdir()}

    assert len(refused) >= 11
    assert ended.succeeded
    assert {"api.log", "redis.log", "sender.log", "worker-1.log"} <= set(logs)
    assert job.id in logs["sender.log"]
    for name in ("api.log", "sender.log", "worker-1.log"):
        assert str(data) not in logs[name], name
    for name, text in logs.items():
        for secret in (TEXT, KEY, HOOK):
            assert secret not in text, name


def fail_at(data: Path, client: Polyseme, webhook: dict[str, str]) -> None:
    """A job that fails, since its documents are damaged before it begins."""
    corpus = client.add_corpus(
        iter([f"{TEXT} {i} number of lines\n".encode() for i in range(30)]),
        media_type="text/plain",
        name="spoilt",
    )
    for file in (data / "store" / "corpora").rglob("documents.parquet"):
        if "spoilt" in str(file):
            file.write_bytes(file.read_bytes()[:-20])
    job = client.submit(
        {"model": MODEL, "corpus": {"id": corpus.id}, "contexts": CONTEXTS, "webhook": webhook}
    )
    assert client.wait(job).status == "failed"
