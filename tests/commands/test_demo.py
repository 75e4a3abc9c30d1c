from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.standins import REPOSITORY, free_port, run_polyseme, write_standins
from tests.client.wire import Answer, Wire, grouped_report, job_state

_MODEL = {
    "id": "smollm2-135m-instruct",
    "state": "ready",
    "layers": 30,
    "neurons": 1536,
    "error": None,
}
_LIST = "GET /v1/jobs/job_1/neurons?limit=100&status={}&min_coverage=0.8&sort=-selectivity"


@pytest.fixture
def service(wire: Wire) -> Wire:
    """A service that runs already and has the model; its jobs succeed at once."""
    wire.on("GET /readyz", Answer({"status": "ready", "workers": 1}))
    wire.on("GET /v1/models", Answer({"data": [_MODEL]}))
    wire.on(
        "POST /v1/corpora?name=sample",
        Answer({"id": "sample", "documents": 448, "characters": 272924}, 200),
    )
    wire.on("POST /v1/jobs", Answer(job_state(), 202))
    ended = job_state(status="succeeded", phase="ended", finished_at="2026-11-24T05:01:30.500Z")
    wire.on("GET /v1/jobs/job_1", Answer(ended))
    statuses = {"monosemantic": 40, "polysemantic": 6064, "described": 40, "not_scored": 0}
    summary = {"neurons": 6144, "tokens": 66693, "statuses": statuses}
    wire.on("GET /v1/jobs/job_1/summary", Answer(summary))
    near = [{"layer": 3, "neuron": n, "unrelated": False} for n in (5, 6)]
    far = {"layer": 3, "neuron": 7, "unrelated": True}
    wire.on(_LIST.format("polysemantic"), Answer({"data": [*near, far]}))
    alone = [{"layer": 3, "neuron": n, "unrelated": None} for n in (8, 9)]
    wire.on(_LIST.format("monosemantic"), Answer({"data": alone}))
    for neuron in (5, 7, 8):
        path = f"GET /v1/jobs/job_1/neurons/3/{neuron}"
        wire.on(path, Answer(grouped_report(neuron=neuron)))
    return wire


def run_demo(wire: Wire, folder: Path) -> subprocess.CompletedProcess[str]:
    return run_polyseme(
        ["demo", "--port", wire.url.rpartition(":")[2], "--data", str(folder / "data")], folder
    )


def test_it_asks_for_all_neurons_of_some_layers_with_the_defaults(
    service: Wire, tmp_path: Path
) -> None:
    done = run_demo(service, tmp_path)
    posted = next(a for a in service.asked if a.method == "POST" and a.path == "/v1/jobs")
    assert done.returncode == 0, done.stderr
    assert posted.json() == {
        "model": "smollm2-135m-instruct",
        "corpus": {"id": "sample"},
        "neurons": {"layers": "8,12,16,20"},
    }


def test_it_shows_polysemantic_and_monosemantic_neurons_and_how_to_go_on(
    service: Wire, tmp_path: Path
) -> None:
    output = run_demo(service, tmp_path).stdout
    assert f"Using the service that runs at {service.url}." in output
    assert "6,144 neurons on 66,693 tokens in 90.5 s" in output
    assert "40 monosemantic, 6,064 polysemantic, 40 described." in output
    shown = [output.index(f"layer 3, neuron {n}") for n in (7, 5, 8)]
    assert shown == sorted(shown)
    assert "layer 3, neuron 6" not in output
    assert "Fires in this text for two unrelated things" in output
    assert f"curl '{service.url}/v1/jobs/job_1/neurons/3/8'" in output


def test_it_leaves_a_service_that_it_did_not_start_alone(service: Wire, tmp_path: Path) -> None:
    run_demo(service, tmp_path)
    assert not (tmp_path / "data").exists()


def test_a_job_that_fails_is_told_with_its_reason(service: Wire, tmp_path: Path) -> None:
    error = {"code": "too_many_attempts", "detail": "scan:0 failed three times"}
    service.on("GET /v1/jobs/job_1", Answer(job_state(status="failed", phase="ended", error=error)))
    done = run_demo(service, tmp_path)
    assert done.returncode == 1
    assert done.stderr == "The job failed: scan:0 failed three times\n"


def test_a_model_that_cannot_be_analysed_is_told_with_its_reason(
    service: Wire, tmp_path: Path
) -> None:
    broken = _MODEL | {"state": "unusable", "error": "no such file: model.gguf"}
    service.on("GET /v1/models", Answer({"data": [broken]}))
    done = run_demo(service, tmp_path)
    assert done.returncode == 1
    assert "cannot be analysed: no such file: model.gguf" in done.stderr


def test_a_service_without_the_model_is_told(service: Wire, tmp_path: Path) -> None:
    service.on("GET /v1/models", Answer({"data": []}))
    done = run_demo(service, tmp_path)
    assert done.returncode == 1
    assert "does not list smollm2-135m-instruct" in done.stderr


def test_a_port_that_something_else_has_is_exit_code_2(tmp_path: Path) -> None:
    standins = write_standins(tmp_path / "standins")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_polyseme(
            ["demo", "--port", str(port), "--data", str(tmp_path / "data")], tmp_path, standins
        )
    assert done.returncode == 2
    assert f"Port {port} of 127.0.0.1 cannot be used" in done.stderr


def test_a_stack_that_cannot_start_ends_the_demo(tmp_path: Path) -> None:
    standins = write_standins(tmp_path / "standins")
    (standins / "polyseme/workers/__main__.py").write_text("raise SystemExit('no torch here')")
    done = run_polyseme(
        ["demo", "--port", str(free_port()), "--data", str(tmp_path / "data")], tmp_path, standins
    )
    assert done.returncode == 1
    assert "no torch here" in done.stderr
    assert "it says why above" in done.stderr


@pytest.mark.slow
@pytest.mark.model
def test_the_whole_demo_on_the_real_model(tmp_path: Path) -> None:
    arguments = ["demo", "--port", str(free_port()), "--data", str(tmp_path / "data")]
    environ = {
        k: v for k, v in os.environ.items() if k != "REDIS_URL" and not k.startswith("POLYSEME_")
    }
    done = subprocess.run(
        [sys.executable, "-m", "polyseme", *arguments],
        cwd=REPOSITORY,
        env=environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "6,144 neurons on " in done.stdout
    assert done.stdout.count("⟦") >= 8
