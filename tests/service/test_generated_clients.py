"""Clients made of the OpenAPI document by other people's tools: the programs of
docs/generated-clients.md compile, and run against the service.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import threading
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Store
from polyseme.service.app import create_app
from tests.factories import MODEL, add_corpus, make_card, run_job, write_result
from tests.servers import RedisServer
from tests.service.conftest import make_settings, serving
from tests.test_docs import SERVICE, blocks, section

pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node.js and npm"),
]
PAGE = "docs/generated-clients.md"
INSTALLS = re.compile(r"npm install|pip install")


@dataclass
class Service:
    url: str
    board: Board
    store: Store

    def end_next_job(self) -> threading.Thread:
        """As a worker would, with a result of 192 neurons."""

        def end() -> None:
            while not (jobs := list(self.board.jobs.newest_first())):
                time.sleep(0.05)
            time.sleep(0.3)  # for one poll at least
            write_result(self.store, jobs[0].id, contexts=18, senses=True)
            run_job(self.board, jobs[0].id)

        thread = threading.Thread(target=end, daemon=True)
        thread.start()
        return thread


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    folder = tmp_path / "service"
    folder.mkdir()
    with RedisServer.running() as redis:
        board, store = Board.connect(redis.url), Store(str(folder / "store"))
        board.registry.put_card(make_card())
        add_corpus(board, store)
        with serving(create_app(make_settings(redis.url, folder))) as http:
            yield Service(str(http.base_url).rstrip("/"), board, store)


def translate(text: str, service: Service) -> str:
    """With what is here in place of what the page names."""
    named = text.replace(SERVICE, service.url)
    return named.replace("smollm2-135m-instruct", MODEL).replace('"sample"', '"notes"')


def follow(heading: str, language: str, name: str, service: Service, folder: Path) -> str:
    """Does what a part of the page says; the output of its program."""
    part = translate(section(PAGE, heading), service)
    (folder / name).write_text(blocks(part, language)[0])
    output = ""
    for line in blocks(part, "sh")[0].splitlines():
        words = shlex.split(line)
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
        if done.returncode and INSTALLS.match(line):
            pytest.skip(f"{line}: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        output = done.stdout
    return output


def check(output: str) -> None:
    lines = output.splitlines()
    assert "windows of text" in lines[0] or "tokens of text" in lines[0]
    assert re.search(r"(?m)^succeeded 30 ", output)
    rows = [line for line in lines if re.match(r"\d+ \d+ \S", line)]
    assert len({tuple(row.split()[:2]) for row in rows}) == len(rows) == 4 * 48


def test_a_typescript_client_submits_polls_and_pages(service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "client"
    folder.mkdir()
    ended = service.end_next_job()

    output = follow("TypeScript", "ts", "example.ts", service, folder)

    ended.join()
    check(output)


def test_a_python_client_submits_polls_and_pages(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "client"
    venv.create(folder / "venv", with_pip=True)
    monkeypatch.setenv("PATH", f"{folder / 'venv/bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    ended = service.end_next_job()

    output = follow("Python", "python", "example.py", service, folder)

    ended.join()
    check(output)
