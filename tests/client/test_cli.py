from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.standins import REPOSITORY, free_port, run_polyseme
from tests.client.wire import Answer, Wire, job_state, neuron_report


def test_help_names_every_command(tmp_path: Path) -> None:
    done = run_polyseme(["--help"], tmp_path)
    assert done.returncode == 0
    for command in ("up", "demo", "models", "corpora", "analyse", "jobs", "watch", "neuron", "export"):
        assert f" {command} " in done.stdout


def test_an_option_that_is_not_known_is_exit_code_2(tmp_path: Path) -> None:
    done = run_polyseme(["up", "--frobnicate"], tmp_path)
    assert done.returncode == 2
    assert "--frobnicate" in done.stderr


def test_a_service_that_is_not_there_is_a_plain_message_and_exit_code_1(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = run_polyseme(["models", "--url", url], tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"No answer from {url}")
    assert "Traceback" not in done.stderr


def test_a_refusal_is_a_plain_message_and_exit_code_1(tmp_path: Path, wire: Wire) -> None:
    wire.on("POST /v1/jobs", Answer({"code": "model_not_listed", "detail": "no model nope"}, 422))
    done = run_polyseme(["analyse", "nope", "sample", "--url", wire.url], tmp_path)
    assert done.returncode == 1
    assert done.stderr == "no model nope (status 422, model_not_listed)\n"


def test_analyse_posts_the_job_and_watches_it(tmp_path: Path, wire: Wire) -> None:
    wire.on("POST /v1/jobs", Answer(job_state(), 202))
    wire.on("GET /v1/jobs/job_1", Answer(job_state(status="succeeded", phase="ended")))
    done = run_polyseme(["analyse", "m", "c", "--layers", "0-3", "--top-k", "5", "--url", wire.url], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "job_1"
    assert wire.asked[0].json() == {
        "model": "m",
        "corpus": {"id": "c"},
        "neurons": {"layers": "0-3", "indices": "all"},
        "contexts": {"top_k": 5},
    }


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_watching_a_job_that_does_not_succeed_is_exit_code_1(tmp_path: Path, wire: Wire, status: str) -> None:
    error = {"code": "non_finite_activation", "detail": "layer 3 gave a NaN"}
    wire.on("GET /v1/jobs/job_1", Answer(job_state(status=status, error=error)))
    done = run_polyseme(["watch", "job_1", "--url", wire.url], tmp_path)
    assert done.returncode == 1
    assert f"job_1 {status}: layer 3 gave a NaN" in done.stderr


def test_neuron_shows_the_report_or_its_json(tmp_path: Path, wire: Wire) -> None:
    wire.on("GET /v1/jobs/job_1/neurons/3/7", Answer(neuron_report()))
    shown = run_polyseme(["neuron", "job_1", "3", "7", "--url", wire.url], tmp_path)
    as_json = run_polyseme(["neuron", "job_1", "3", "7", "--json", "--url", wire.url], tmp_path)
    assert "⟦ beginning⟧" in shown.stdout
    assert json.loads(as_json.stdout) == neuron_report()


def test_models_and_jobs_are_a_line_each(tmp_path: Path, wire: Wire) -> None:
    described = {"id": "m", "layers": 30, "neurons": 1536, "error": None}
    wire.on("GET /v1/models", Answer({"data": [described, {"id": "n", "layers": None}]}))
    wire.on("GET /v1/jobs", Answer({"data": [job_state()]}))
    models = run_polyseme(["models", "--url", wire.url], tmp_path).stdout.splitlines()
    jobs = run_polyseme(["jobs", "--url", wire.url], tmp_path).stdout.splitlines()
    assert [" ".join(line.split()) for line in models] == ["m 30 layers of 1,536", "n not described yet"]
    assert jobs[0].startswith("job_1  running")


@pytest.mark.parametrize(
    ("name", "media_type", "query"),
    [
        ("c.txt", "text/plain", ""),
        ("c.jsonl", "application/x-ndjson", ""),
        ("c.jsonl.gz", "application/gzip", "?format=jsonl"),
        ("c.txt.gz", "application/gzip", "?format=text"),
    ],
)
def test_corpora_add_sends_the_file_as_what_it_is(
    tmp_path: Path, wire: Wire, name: str, media_type: str, query: str
) -> None:
    content = gzip.compress(b"x\n") if name.endswith(".gz") else b"x\n"
    (tmp_path / name).write_bytes(content)
    wire.on(f"POST /v1/corpora{query}", Answer({"id": "crp_1"}, 201))
    done = run_polyseme(["corpora", "add", name, "--url", wire.url], tmp_path)
    assert done.returncode == 0, done.stderr
    assert wire.asked[0].headers["Content-Type"] == media_type
    assert wire.asked[0].body == content


def test_export_leaves_a_whole_file(tmp_path: Path, wire: Wire) -> None:
    wire.on("GET /v1/jobs/job_1/export?format=ndjson", Answer(b"{}\n" * 1000))
    done = run_polyseme(["export", "job_1", "out.ndjson", "--format", "ndjson", "--url", wire.url], tmp_path)
    assert done.stdout == "out.ndjson: 3,000 bytes\n"
    assert {f.name for f in tmp_path.iterdir()} == {"out.ndjson"}


def test_a_refused_export_leaves_no_file(tmp_path: Path, wire: Wire) -> None:
    wire.on("GET /v1/jobs/job_1/export?format=parquet", Answer({"code": "conflict", "detail": "still runs"}, 409))
    done = run_polyseme(["export", "job_1", "out.zip", "--url", wire.url], tmp_path)
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_the_base_installation_is_enough_to_talk_to_a_service(wire: Wire) -> None:
    """It has no torch, Flask, Redis or pyarrow."""
    wire.on("GET /v1/models", Answer({"data": [{"id": "m", "layers": None}]}))
    blocked = ("torch", "transformers", "numpy", "flask", "redis", "celery", "kombu", "pyarrow", "fsspec")
    code = f"""
import sys
sys.modules.update(dict.fromkeys({blocked}))
sys.argv = ["polyseme", "models", "--url", {wire.url!r}]
from client.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "not described yet" in done.stdout
