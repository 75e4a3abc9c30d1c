"""Nothing that lies in the current folder is run in place of what is installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from polyseme.stack.child import SAFE_PYTHON
from tests.client.standins import (
    free_port,
    read_until,
    run_polyseme,
    running_polyseme,
    safe_environ,
)
from tests.tiny_models import save_model

# Names that this project's modules have or had at the top, which somebody's own may have too.
OURS = ("client", "commands", "contract", "service", "stack", "workers", "errors", "records")
# With the package itself, and what it needs.
OTHERS = (
    *("polyseme", "sitecustomize", "usercustomize", "__config__"),
    *("json", "asyncio", "logging", "random", "socket", "typing", "uuid"),
    *("httpx", "rich", "typer", "redis", "celery", "kombu", "fsspec", "pyarrow"),
    *("flask", "flask_smorest", "gunicorn", "marshmallow", "orjson", "prometheus_client"),
    *("torch", "numpy", "numba", "transformers", "safetensors"),
)
SUBMODULES = ("__main__", "wsgi", "sender", "worker", "cli", "main", "serve", "board", "stack")
GUNICORN_SETTINGS = "gunicorn.conf.py"  # which gunicorn runs if it finds it


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Full of decoys. Each leaves a file beside itself when it is run, and ends its process."""
    folder = tmp_path_factory.mktemp("decoys")
    for name in (*OURS, *OTHERS):
        write_decoy(folder / f"{name}.py")
        write_decoy(folder / name / "__init__.py")
        for submodule in SUBMODULES:
            write_decoy(folder / name / f"{submodule}.py")
    write_decoy(folder / GUNICORN_SETTINGS)
    return folder


def write_decoy(file: Path) -> None:
    trace = str(file) + ".was-run"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"open({trace!r}, 'w').close()\nraise SystemExit('a decoy: {file.name}')\n")


def traces(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*.was-run"))


@pytest.fixture
def untouched(folder: Path) -> Iterator[Path]:
    """The folder, in which nothing is run until the test ends."""
    yield folder
    assert traces(folder) == []


def run_python(arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=safe_environ(),
        capture_output=True,
        text=True,
        timeout=180,
    )


def test_the_decoys_would_be_run(tmp_path: Path) -> None:
    write_decoy(tmp_path / "polyseme.py")
    write_decoy(tmp_path / "redis.py")

    for name in ("polyseme", "redis"):
        assert "a decoy" in run_python(["-c", f"import {name}"], tmp_path).stderr

    assert traces(tmp_path) == ["polyseme.py.was-run", "redis.py.was-run"]


def test_a_script_beside_modules_of_our_names_gets_the_client(tmp_path: Path) -> None:
    """What else lies there, such as a `json.py`, a script imports by Python's rule."""
    for name in OURS:
        write_decoy(tmp_path / f"{name}.py")
    (tmp_path / "script.py").write_text(
        "from polyseme import AsyncPolyseme, Polyseme\n"
        "import polyseme.commands.main, polyseme.service.app, polyseme.workers.worker\n"
        "print(Polyseme('http://127.0.0.1:1').url)\n"
    )

    done = run_python(["script.py"], tmp_path)

    assert done.stdout == "http://127.0.0.1:1\n", done.stderr
    assert traces(tmp_path) == []


def test_the_commands_run_from_there(untouched: Path) -> None:
    shown = run_polyseme(["--help"], untouched)
    checks = run_polyseme(["doctor", "--url", f"http://127.0.0.1:{free_port()}"], untouched)

    assert " analyse " in shown.stdout
    assert "ok     torch " in checks.stdout, checks
    assert checks.stderr == "1 of 9 checks failed.\n"  # no catalogue is there


def test_the_stack_runs_from_there(untouched: Path, tmp_path: Path) -> None:
    entry = save_model("llama", tmp_path / "model")
    catalogue = tmp_path / "models.toml"
    catalogue.write_text(f'[[models]]\nid = "tiny"\npath = "{entry.location}"\n')
    port, data = free_port(), tmp_path / "data"
    command = ["up", "--port", str(port), "--data", str(data), "--catalogue", str(catalogue)]

    with running_polyseme(command, untouched) as process:
        output = read_until(process, "Ready: ")
        ready = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=30).json()
        demo = run_polyseme(["demo", "--port", str(port)], untouched)
        logs = {log.name: log.read_text() for log in (data / "logs").iterdir()}

    assert [line.split()[0] for line in output.splitlines()[:3]] == ["redis", "api", "worker-1"]
    assert (ready["status"], ready["workers"]) == ("ready", 1)
    assert "does not list smollm2-135m-instruct" in demo.stderr
    assert not any("decoy" in text for text in logs.values()), logs


@pytest.mark.parametrize(
    "module", ["polyseme.workers", "polyseme.service.webhooks.sender", "polyseme.stack.serve"]
)
def test_a_process_of_the_service_runs_from_there(untouched: Path, module: str) -> None:
    """Up to its settings, which no service could run with."""
    done = subprocess.run(
        [*SAFE_PYTHON, "-m", module],
        cwd=untouched,
        env=safe_environ() | {"REDIS_URL": "nonsense://"},
        capture_output=True,
        text=True,
        timeout=180,
    )

    assert done.returncode != 0
    assert "Redis URL must specify one of" in done.stderr
