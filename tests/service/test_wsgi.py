"""The entry point as gunicorn runs it, in processes of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Store
from polyseme.contract.settings import Settings
from polyseme.stack.child import SAFE_PYTHON
from tests.client.standins import free_port, wait_until_live
from tests.factories import add_corpus, make_card

BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Block())
import polyseme.service.wsgi
print(polyseme.service.wsgi.app.test_client().get("/readyz").get_json()["status"])
"""


def test_the_service_runs_without_torch(settings: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED],
        env=os.environ | settings.to_environ(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.strip() == "ready", done.stderr


@pytest.fixture
def address(settings: Settings, board: Board, store: Store) -> Iterator[str]:
    """gunicorn with two processes of four threads."""
    board.registry.put_card(make_card())
    add_corpus(board, store)
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "polyseme.service.wsgi:app",
        "-k",
        "gthread",
        "-w",
        "2",
        "--threads",
        "4",
    ]
    process = subprocess.Popen(
        [*command, "-b", f"127.0.0.1:{port}", "--log-level", "warning"],
        cwd=Path(__file__).parents[2],
        env=os.environ | settings.to_environ(),
    )
    try:
        yield wait_until_live(f"http://127.0.0.1:{port}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def test_processes_count_together(address: str) -> None:
    for _ in range(20):  # each on a connection of its own, so that both processes get some
        httpx.get(f"{address}/v1/models", timeout=10)

    text = httpx.get(f"{address}/metrics", timeout=10).text

    found = re.search(
        r'polyseme_http_requests_total\{method="GET",route="/v1/models",status="200"\} (\S+)', text
    )
    assert found is not None
    assert float(found[1]) == 20


def test_a_chunked_upload_and_a_refused_one_both_get_an_answer(address: str) -> None:
    def chunks(count: int) -> Iterator[bytes]:
        for i in range(count):
            yield f"line {i} of a text\n".encode() * (1 if count < 10 else 4096)

    headers = {"Content-Type": "text/plain"}

    good = httpx.post(f"{address}/v1/corpora", content=chunks(5), headers=headers, timeout=20)
    huge = httpx.post(f"{address}/v1/corpora", content=chunks(40), headers=headers, timeout=20)

    assert (good.status_code, good.json()["documents"]) == (201, 5)
    assert (huge.status_code, huge.json()["code"]) == (413, "too_large")


def test_everything_that_gunicorn_writes_is_a_line_of_json_when_asked_for(
    settings: Settings, board: Board, tmp_path: Path
) -> None:
    port = free_port()
    environ = os.environ | settings.to_environ() | {"POLYSEME_LOG_FORMAT": "json"}
    root = Path(__file__).parents[2]
    command = [*SAFE_PYTHON, "-m", "polyseme.stack.serve", "-b", f"127.0.0.1:{port}"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=root,
            env=environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "m")},
            stdout=log,
            stderr=log,
        )
        url = wait_until_live(f"http://127.0.0.1:{port}")
        httpx.get(f"{url}/v1/models", headers={"X-Request-Id": "mine"}, timeout=10)
        process.send_signal(signal.SIGTERM)
        process.wait(20)

    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]

    assert {line["logger"] for line in lines} == {"gunicorn.error", "polyseme.access"}
    (asked,) = (line for line in lines if line["logger"] == "polyseme.access")
    assert (asked["request"], asked["route"]) == ("mine", "/v1/models")


def test_it_does_not_listen_for_others_until_there_is_a_key(
    settings: Settings, board: Board
) -> None:
    port = free_port()
    # One process is enough, and loopback addresses beside 127.0.0.1 would hide what is asked here.
    command = [*SAFE_PYTHON, "-m", "polyseme.stack.serve", "-w", "1", "-b", f"0.0.0.0:{port}"]
    options = {"cwd": Path(__file__).parents[2], "env": os.environ | settings.to_environ()}

    refused = subprocess.run(
        command, **options, capture_output=True, text=True, timeout=60, check=False
    )  # type: ignore[call-overload]
    board.accounts.create_key("default", ("read",))
    process = subprocess.Popen(command, **options)  # type: ignore[call-overload]
    try:
        live = wait_until_live(f"http://127.0.0.1:{port}")
        answer = httpx.get(f"{live}/v1/models", timeout=10)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)

    assert refused.returncode != 0
    assert "others could reach 0.0.0.0, and there is no API key" in refused.stderr
    assert answer.status_code == 401
