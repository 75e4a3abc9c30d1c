"""Whether two checkouts give the same results: four jobs on each one's service, file by file.

Both checkouts must be installed (`make install`). Each runs in turn, with its own code, on the same
sample model and corpus. The SHA-256 of every file of a result is compared but the manifest's, which
has times and versions.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.markdown import table

HOST = "127.0.0.1"
START_S = 600.0
MODEL, CORPUS = "smollm2-135m-instruct", "sample"
MANIFEST = "manifest.json"

# Name, where it is posted (with the id of the first job), and the request.
JOBS: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("all layers", "/v1/jobs", {}),
    (
        "both tails",
        "/v1/jobs",
        {"neurons": {"layers": "0,7,29"}, "contexts": {"tails": "both"}, "reuse": False},
    ),
    (
        "chosen neurons, concat",
        "/v1/jobs",
        {
            "neurons": {"layers": "3,12", "indices": "0-99,500,1535"},
            "contexts": {"packing": "concat", "top_k": 30},
            "reuse": False,
        },
    ),
    ("senses anew", "/v1/jobs/{first}/senses", {"same_at": 0.25}),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", type=Path, help="a checkout with its environment in .venv")
    parser.add_argument("after", type=Path, help="another")


def run(options: argparse.Namespace) -> str:
    sides = [options.before.resolve(), options.after.resolve()]
    found = [_run_jobs(side) for side in sides]
    rows = []
    for name, _, _ in JOBS:
        before, after = (side[name] for side in found)
        other = sorted(f for f in before.keys() | after.keys() if before.get(f) != after.get(f))
        rows.append([name, str(len(before)), ", ".join(other) or "none"])
    commits = " and ".join(f"`{_commit(side)}`" for side in sides)
    return f"Results of {commits}:\n\n" + table(["job", "files", "files that differ"], rows)


def _run_jobs(checkout: Path) -> dict[str, dict[str, str]]:
    """The SHA-256 of each file of each job's result."""
    hashes: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory(prefix="polyseme-") as folder:
        data = Path(folder)
        with _running_service(checkout, data) as url:
            first = ""
            for name, path, chosen in JOBS:
                request = dict(chosen)
                if "{first}" not in path:
                    request |= {"model": MODEL, "corpus": {"id": CORPUS}}
                job = _ask(f"{url}{path.format(first=first)}", request)["id"]
                first = first or job
                _await_job(url, job)
                hashes[name] = hash_result(data / "store" / "results" / job)
    return hashes


def hash_result(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder but the manifest."""
    files = [f for f in sorted(folder.rglob("*")) if f.is_file() and f.name != MANIFEST]
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=7"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def _running_service(checkout: Path, data: Path) -> Iterator[str]:
    with socket.socket() as s:
        s.bind((HOST, 0))
        port = int(s.getsockname()[1])
    command = [str(checkout / ".venv/bin/polyseme"), "up", "--sample"]
    command += ["--port", str(port), "--data", str(data)]
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    with (
        open(data / "up.log", "wb") as log,
        subprocess.Popen(command, cwd=checkout, env=environ, stdout=log, stderr=log) as process,
    ):
        try:
            url = f"http://{HOST}:{port}"
            _await_corpus(url, process, data / "up.log")
            yield url
        finally:
            process.terminate()
            process.wait()


def _await_corpus(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the sample corpus is there and the model is described."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            _ask(f"{url}/v1/corpora/{CORPUS}")
            models = _ask(f"{url}/v1/models")["data"]
            if any(m["id"] == MODEL and m["state"] == "ready" for m in models):
                return
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.5)
    raise RuntimeError(f"the service is not ready:\n{log.read_text(encoding='utf-8')}")


def _await_job(url: str, job: str) -> None:
    while (found := _ask(f"{url}/v1/jobs/{job}"))["status"] in ("queued", "running"):
        time.sleep(1)
    if found["status"] != "succeeded":
        raise RuntimeError(f"{job} {found['status']}: {found.get('error')}")


def _ask(url: str, request: Mapping[str, Any] | None = None) -> Any:
    body = None if request is None else json.dumps(request).encode()
    asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return json.load(answer)
