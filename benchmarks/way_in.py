"""Which files of ours a job goes through from `POST /v1/jobs` to the first line of its plan."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.scale import running_redis
from polyseme.contract.settings import Settings
from polyseme.contract.tickets import connect_queue
from polyseme.contract.traces import NoTracer
from polyseme.service.app import create_app
from polyseme.workers.analysis import warm_up
from polyseme.workers.analysis.steps import planning
from polyseme.workers.worker import make_runner, publish_cards

ROOT = Path(__file__).parents[1]
OURS = ("contract", "service", "workers", "polyseme")
MODEL = "tiny"


def add_options(parser: argparse.ArgumentParser) -> None:
    """It has none."""


def run(options: argparse.Namespace) -> str:
    with tempfile.TemporaryDirectory(prefix="polyseme-bench-") as name, running_redis() as (url, _):
        folder = Path(name)
        settings = _prepare(folder, url)
        http = create_app(settings).test_client()
        runner = make_runner(settings, connect_queue(url), NoTracer())
        publish_cards(runner.board, runner.catalogue, Path(settings.cache))
        # The first job loads the model, and what is imported late.
        for _ in range(2):
            with _tracing() as files:
                _submit(http)
                runner.run_next("default")
            while runner.run_next("default"):
                pass
    lines = [f"{len(files)} files of ours have a function entered:", ""]
    return "\n".join([*lines, *(f"- {file}" for file in sorted(files))])


def _prepare(folder: Path, url: str) -> Settings:
    warm_up.save_tiny_model(folder / "model", words=50, hidden=8, neurons=16, layers=2, heads=2)
    entry = f"[[models]]\nid = {json.dumps(MODEL)}\npath = {json.dumps(str(folder / 'model'))}\n"
    (folder / "models.toml").write_text(entry, encoding="utf-8")
    return Settings(
        redis_url=url,
        store=str(folder / "store"),
        catalogue=str(folder / "models.toml"),
        cache=str(folder / "cache"),
    )


def _submit(http: Any) -> None:
    texts = [f"w{i % 7} w{i % 5} w{i % 3} w{i}" for i in range(40)]
    request = {"model": MODEL, "corpus": {"texts": texts}, "reuse": False}
    answer = http.post("/v1/jobs", json=request, environ_base={"REMOTE_ADDR": "127.0.0.1"})
    assert answer.status_code == 202, answer.get_json()


@contextmanager
def _tracing() -> Iterator[set[str]]:
    """Gathers the files until the plan begins."""
    files: set[str] = set()
    is_planning = threading.Event()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or is_planning.is_set():
            return
        code = frame.f_code
        inside = _inside(code.co_filename)
        if inside is not None and code.co_name not in ("<module>",):
            files.add(inside)
        if code is planning.plan_windows.__code__:
            is_planning.set()

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield files
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


def _inside(file: str) -> str | None:
    try:
        inside = Path(file).resolve().relative_to(ROOT)
    except ValueError:
        return None
    return str(inside) if inside.parts[0] in OURS else None
