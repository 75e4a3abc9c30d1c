from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.standins import REPOSITORY, free_port, run_polyseme
from tests.client.wire import Answer, Wire, estimate, job_state, neuron_report


def test_help_names_every_command(tmp_path: Path) -> None:
    done = run_polyseme(["--help"], tmp_path)
    assert done.returncode == 0
    for command in (
        "up",
        "demo",
        "models",
        "corpora",
        "vectors",
        "analyse",
        "senses",
        "jobs",
        "watch",
        "neurons",
        "neuron",
        "export",
        "doctor",
    ):
        assert f" {command} " in done.stdout


def test_an_option_that_is_not_known_is_exit_code_2(tmp_path: Path) -> None:
    done = run_polyseme(["up", "--frobnicate"], tmp_path)
    assert done.returncode == 2
    assert "--frobnicate" in done.stderr


def test_a_service_that_is_not_there_is_a_plain_message_and_exit_code_3(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = run_polyseme(["models", "--url", url], tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith(f"No answer from {url}")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("status", "exit_code"),
    [(400, 2), (409, 2), (422, 2), (401, 4), (403, 4), (404, 5), (410, 5), (500, 1)],
)
def test_a_refusal_is_a_plain_message_and_an_exit_code_of_its_kind(
    tmp_path: Path, wire: Wire, status: int, exit_code: int
) -> None:
    problem = {
        "code": "a_code",
        "detail": "it is so",
        "errors": [{"pointer": "/model", "detail": "no such"}],
    }
    wire.on("POST /v1/jobs", Answer(problem, status))
    done = run_polyseme(["analyse", "nope", "sample", "--url", wire.url], tmp_path)
    assert done.returncode == exit_code
    assert done.stderr.startswith(f"it is so (status {status}, a_code)\n  /model: no such\n")
    assert done.stdout == ""


def test_a_busy_service_is_exit_code_6_in_the_end(tmp_path: Path, wire: Wire) -> None:
    wire.on(
        "GET /v1/models",
        Answer({"code": "too_many_requests", "detail": "slower"}, 429, {"Retry-After": "0"}),
    )
    done = run_polyseme(["models", "--url", wire.url], tmp_path)
    assert done.returncode == 6
    assert len(wire.asked) == 4


def test_with_json_a_watched_job_is_all_that_stands_on_stdout(tmp_path: Path, wire: Wire) -> None:
    ended = job_state(
        status="failed", phase="ended", error={"code": "c", "detail": "layer 3 gave a NaN"}
    )
    wire.on("POST /v1/jobs", Answer(job_state(), 202))
    wire.on("GET /v1/jobs/job_1", Answer(job_state(), headers={"Retry-After": "0"}), Answer(ended))
    done = run_polyseme(["analyse", "m", "c", "--json", "--url", wire.url], tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stdout) == ended
    assert "layer 3 gave a NaN" in done.stderr


def test_analyse_uploads_a_folder_and_says_what_the_job_would_take(
    tmp_path: Path, wire: Wire
) -> None:
    for name, content in (
        ("a.txt", "one\ntwo"),
        ("b.jsonl", '{"text": "three"}\n{"text": "four"}'),
        ("c.png", "no"),
    ):
        (tmp_path / "texts").mkdir(exist_ok=True)
        (tmp_path / "texts" / name).write_text(content)
    wire.on("POST /v1/corpora?name=mine", Answer({"id": "mine", "documents": 3}, 201))
    wire.on(
        "POST /v1/jobs?dry_run=true",
        Answer(estimate(notes=[{"code": "c", "message": "Take more text.", "pointer": None}])),
    )
    arguments = ["analyse", "m", "texts", "--corpus-name", "mine", "--dry-run", "--url", wire.url]
    done = run_polyseme(arguments, tmp_path)
    assert done.stdout == "4,000 tokens, 9 neurons in 3 layers, about 2 s on one worker\n", (
        done.stderr
    )
    assert done.stderr.endswith("Note: Take more text.\n")
    assert wire.asked[0].body == b'{"text": "one\\ntwo"}\n{"text": "three"}\n{"text": "four"}\n'
    assert wire.asked[1].json()["corpus"] == {"id": "mine"}


def test_a_corpus_file_that_is_not_there_is_refused_before_anything_is_sent(
    tmp_path: Path, wire: Wire
) -> None:
    done = run_polyseme(["analyse", "m", "./nowhere.txt", "--url", wire.url], tmp_path)
    assert (done.returncode, wire.asked) == (5, [])


def test_jobs_are_cancelled_and_deleted_and_the_last_one_is_found(
    tmp_path: Path, wire: Wire
) -> None:
    wire.on("GET /v1/jobs?limit=1", Answer({"data": [job_state()]}))
    wire.on("POST /v1/jobs/job_1/cancel", Answer(job_state(status="cancelling"), 202))
    wire.on("DELETE /v1/jobs/job_1", Answer(status=204))
    cancelled = run_polyseme(["jobs", "cancel", "last", "--url", wire.url], tmp_path)
    deleted = run_polyseme(["jobs", "delete", "job_1", "--json", "--url", wire.url], tmp_path)
    assert cancelled.stdout == "job_1 cancelling\n"
    assert json.loads(deleted.stdout) == {"id": "job_1", "deleted": True}


def test_neurons_is_a_table_of_what_was_asked_for(tmp_path: Path, wire: Wire) -> None:
    row = {
        "layer": 14,
        "neuron": 7,
        "status": "polysemantic",
        "polysemanticity": 0.8125,
        "meaning": "[bold]in\n",
    }
    query = "sort=-polysemanticity&layer=14&meaning=in&limit=10&min_coverage=0.75"
    wire.on(f"GET /v1/jobs/job_1/neurons?{query}", Answer({"data": [row], "total": 1}))
    arguments = [
        "neurons",
        "job_1",
        "--layer",
        "14",
        "--top",
        "10",
        "--where",
        "min_coverage=0.75",
        "--meaning",
        "in",
        "--url",
        wire.url,
    ]
    lines = run_polyseme(arguments, tmp_path).stdout.splitlines()
    assert lines[0].split()[:4] == ["layer", "neuron", "status", "polysemanticity"]
    assert lines[1].split()[:5] == ["14", "7", "polysemantic", "0.812", "[bold]in⏎"]
    assert json.loads(run_polyseme([*arguments, "--json"], tmp_path).stdout) == row


def test_an_empty_table_says_what_neurons_there_are(tmp_path: Path, wire: Wire) -> None:
    wire.on(
        "GET /v1/jobs/job_1/neurons?sort=-polysemanticity&status=polysemantic&limit=20",
        Answer({"data": []}),
    )
    wire.on(
        "GET /v1/jobs/job_1/summary",
        Answer({"statuses": {"polysemantic": 0, "insufficient_evidence": 1536}}),
    )

    done = run_polyseme(
        ["neurons", "job_1", "--status", "polysemantic", "--url", wire.url], tmp_path
    )

    assert "The job has 1,536 insufficient evidence.\n" in done.stderr


def test_a_neuron_is_shown_in_a_text_of_ones_own(tmp_path: Path, wire: Wire) -> None:
    peak = {"token": 1, "tail": "positive", "activation": 3.5, "sense": 0, "name": "laugh"}
    answer = {
        "id": "act_1",
        "text": "They laugh",
        "status": "succeeded",
        "tokens": [
            {"token": "They", "char_span": [0, 4]},
            {"token": " laugh", "char_span": [4, 10]},
        ],
        "neurons": [{"layer": 3, "neuron": 7, "activations": [None, 3.5], "peaks": [peak]}],
        "note": None,
    }
    wire.on("POST /v1/activations", Answer(answer))
    done = run_polyseme(
        ["neuron", "job_1", "3", "7", "--text", "They laugh", "--url", wire.url], tmp_path
    )
    assert "They laugh" in done.stdout
    assert "3.50  ⟦ laugh⟧  sense 1 (laugh)" in done.stdout
    assert wire.asked[0].json()["neurons"] == [{"layer": 3, "neuron": 7}]


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path, wire: Wire) -> None:
    wire.on("GET /v1/jobs", Answer({"data": [job_state(id=f"job_{i}") for i in range(5000)]}))
    command = f"{sys.executable} -m polyseme jobs --limit 5000 --json --url {wire.url} | head -n 1"
    done = subprocess.run(command, shell=True, cwd=REPOSITORY, capture_output=True, text=True)
    assert json.loads(done.stdout)["id"] == "job_0"
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_completion_for_shells(tmp_path: Path, shell: str) -> None:
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY), "_POLYSEME_COMPLETE": f"source_{shell}"}
    code = "import sys; sys.argv = ['polyseme']; from polyseme.commands.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
    assert "_POLYSEME_COMPLETE" in done.stdout


def test_analyse_posts_the_job_and_watches_it(tmp_path: Path, wire: Wire) -> None:
    wire.on("POST /v1/jobs", Answer(job_state(), 202))
    wire.on("GET /v1/jobs/job_1", Answer(job_state(status="succeeded", phase="ended")))
    done = run_polyseme(
        ["analyse", "m", "c", "--layers", "0-3", "--top-k", "5", "--url", wire.url], tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "job_1"
    assert wire.asked[0].json() == {
        "model": "m",
        "corpus": {"id": "c"},
        "neurons": {"layers": "0-3", "indices": "all"},
        "contexts": {"top_k": 5},
    }


def test_analyse_takes_the_old_name_of_same_at(tmp_path: Path, wire: Wire) -> None:
    wire.on("POST /v1/jobs", Answer(job_state(), 202))
    for option in ("--same-at", "--alpha"):
        done = run_polyseme(
            ["analyse", "m", "c", option, "0.1", "--no-watch", "--url", wire.url], tmp_path
        )
    assert [a.json()["senses"] for a in wire.asked] == [{"same_at": 0.1}, {"alpha": 0.1}]
    assert done.returncode == 0, done.stderr


def test_analyse_can_ask_for_a_scan_of_everything(tmp_path: Path, wire: Wire) -> None:
    wire.on("POST /v1/jobs", Answer(job_state(), 202))
    run_polyseme(["analyse", "m", "c", "--no-reuse", "--no-watch", "--url", wire.url], tmp_path)
    assert wire.asked[0].json()["reuse"] is False


FEW = Answer(
    {"code": "too_few_documents", "detail": 'send "contexts": {"per_document": null}'}, 422
)


def test_the_documents_of_a_small_corpus_may_give_several_contexts(
    tmp_path: Path, wire: Wire
) -> None:
    (tmp_path / "c.txt").write_text("one text")
    wire.on("POST /v1/corpora?filename=c.txt", Answer({"id": "crp_1", "documents": 1}, 201))
    few = [{"code": "too_few_windows", "message": "About 9 windows.", "pointer": "/corpus"}]
    wire.on("POST /v1/jobs", FEW, Answer(job_state(notes=few), 202))
    done = run_polyseme(
        ["analyse", "m", "c.txt", "--no-watch", "--json", "--url", wire.url], tmp_path
    )
    posted = [a.json()["contexts"] for a in wire.asked if a.path == "/v1/jobs"]
    assert json.loads(done.stdout) == job_state(notes=few), done.stderr
    lists = {"top_k": 60, "shown": 20}
    assert posted == [lists, lists | {"per_document": None}]
    assert (
        "Fewer documents than 60: one may give several contexts to a list.\nNote: About 9 windows."
        in done.stderr
    )


def test_no_more_is_shown_of_a_short_window_than_it_has(tmp_path: Path, wire: Wire) -> None:
    wire.on("POST /v1/jobs", Answer(job_state(), 202))
    for window in ("16", "64"):
        run_polyseme(
            ["analyse", "m", "c", "--window", window, "--no-watch", "--url", wire.url], tmp_path
        )
    short, long = (a.json()["contexts"] for a in wire.asked)
    assert (short["display_tokens"], short["window"]) == (16, 16)
    assert "display_tokens" not in long


def test_who_asks_for_one_context_a_document_gets_the_refusal(tmp_path: Path, wire: Wire) -> None:
    wire.on("POST /v1/jobs", FEW)
    done = run_polyseme(["analyse", "m", "c", "--one-per-document", "--url", wire.url], tmp_path)
    assert (done.returncode, len(wire.asked)) == (2, 1)
    assert wire.asked[0].json()["contexts"]["per_document"] == 1
    assert '"contexts": {"per_document": null}' in done.stderr


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_watching_a_job_that_does_not_succeed_is_exit_code_1(
    tmp_path: Path, wire: Wire, status: str
) -> None:
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
    assert [" ".join(line.split()) for line in models] == [
        "m 30 layers of 1,536 neurons",
        "n not described yet: its worker starts, or there is none",
    ]
    assert jobs[0].startswith("job_1  running")


@pytest.mark.parametrize(
    ("options", "query"),
    [
        ([], ""),
        (["--format", "csv", "--field", "body"], "&field=body&format=csv"),
        (["--language-field", "lang"], "&language_field=lang"),
        (["--on-bad-line", "skip"], "&on_bad_line=skip"),
    ],
)
def test_corpora_add_sends_the_file_as_it_is_with_its_name(
    tmp_path: Path, wire: Wire, options: list[str], query: str
) -> None:
    content = gzip.compress(b"x\n")
    (tmp_path / "c.json.gz").write_bytes(content)
    corpus = {"id": "crp_1", "documents": 1, "bad_lines_skipped": 2, "warnings": ["1 byte, say"]}
    wire.on(f"POST /v1/corpora?filename=c.json.gz{query}", Answer(corpus, 201))
    done = run_polyseme(["corpora", "add", "c.json.gz", *options, "--url", wire.url], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "Dropped: 2 bad lines.\nc.json.gz: 1 byte, say.\n"
    assert wire.asked[0].headers["Content-Type"] == "application/octet-stream"
    assert wire.asked[0].body == content


def test_vectors_add_sends_the_file_as_it_is(tmp_path: Path, wire: Wire) -> None:
    (tmp_path / "v.safetensors").write_bytes(b"content")
    made = {"id": "vec_1", "model": "m", "site": "resid_post", "layer": 3, "count": 2}
    query = "model=m&site=resid_post&layer=3&name=mine&normalize=true"
    wire.on(f"POST /v1/vectors?{query}", Answer(made | {"name": "mine"}, 201))
    options = ["--model", "m", "--site", "resid_post", "--layer", "3", "--name", "mine"]

    done = run_polyseme(
        ["vectors", "add", "v.safetensors", *options, "--normalize", "--url", wire.url], tmp_path
    )
    missing = run_polyseme(["vectors", "add", "w.safetensors", "--url", wire.url], tmp_path)

    assert done.stdout.split() == ["vec_1", "2", "directions", "m", "resid_post", "3", "mine"], (
        done.stderr
    )
    assert wire.asked[0].body == b"content"
    assert (missing.returncode, missing.stderr) == (5, "w.safetensors: there is no such file.\n")


def test_vectors_are_listed_and_deleted(tmp_path: Path, wire: Wire) -> None:
    wire.on("GET /v1/vectors", Answer({"data": [{"id": "vec_1", "count": 1}]}))
    wire.on("DELETE /v1/vectors/vec_1", Answer(status=204))

    listed = run_polyseme(["vectors", "list", "--url", wire.url, "--json"], tmp_path)
    deleted = run_polyseme(["vectors", "delete", "vec_1", "--url", wire.url], tmp_path)

    assert json.loads(listed.stdout) == {"id": "vec_1", "count": 1}
    assert deleted.stdout == "vec_1 is deleted.\n"


def test_a_job_over_directions_names_them_alone(tmp_path: Path, wire: Wire) -> None:
    wire.on("POST /v1/jobs?dry_run=true", Answer(estimate()))
    arguments = ["analyse", "m", "c", "--directions", "vec_1", "--dry-run", "--url", wire.url]

    done = run_polyseme(arguments, tmp_path)

    assert done.returncode == 0, done.stderr
    assert wire.asked[0].json()["neurons"] == {"vectors": "vec_1", "indices": "all"}


def test_a_folder_says_what_it_leaves_out_and_which_of_its_files_is_bad(
    tmp_path: Path, wire: Wire
) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt.gz").write_bytes(gzip.compress(b"one"))
    (folder / "b.csv").write_text("text,n\ntwo,2\n")
    (folder / "c.pdf").write_bytes(b"%PDF-1.7")
    wire.on("POST /v1/corpora", Answer({"id": "crp_1", "documents": 1}, 201))

    done = run_polyseme(["corpora", "add", "texts", "--url", wire.url], tmp_path)
    (folder / "c.pdf").rename(folder / "d.txt")
    refused = run_polyseme(["corpora", "add", "texts", "--url", wire.url], tmp_path)

    assert done.stderr == "Left out: b.csv, c.pdf.\n"
    assert wire.asked[0].body == b'{"text": "one"}\n'
    assert refused.returncode == 2
    assert "texts/d.txt: the content is a PDF" in refused.stderr


def test_export_leaves_a_whole_file(tmp_path: Path, wire: Wire) -> None:
    wire.on("GET /v1/jobs/job_1/export?format=ndjson", Answer(b"{}\n" * 1000))
    done = run_polyseme(
        ["export", "job_1", "out.ndjson", "--format", "ndjson", "--url", wire.url], tmp_path
    )
    assert done.stdout == "out.ndjson: 3.0 kB (3,000 bytes)\n"
    assert {f.name for f in tmp_path.iterdir()} == {"out.ndjson"}


def test_a_refused_export_leaves_no_file(tmp_path: Path, wire: Wire) -> None:
    wire.on(
        "GET /v1/jobs/job_1/export?format=parquet",
        Answer({"code": "conflict", "detail": "still runs"}, 409),
    )
    done = run_polyseme(["export", "job_1", "out.zip", "--url", wire.url], tmp_path)
    assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []


def run_in_base_installation(*arguments: str) -> subprocess.CompletedProcess[str]:
    """It has no torch, Flask, Redis or pyarrow."""
    blocked = (
        "torch",
        "transformers",
        "numpy",
        "flask",
        "redis",
        "celery",
        "kombu",
        "pyarrow",
        "fsspec",
    )
    code = f"""
import sys
sys.modules.update(dict.fromkeys({blocked}))
sys.argv = ["polyseme", *{arguments}]
from polyseme.commands.main import main
main()
"""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )


def test_the_base_installation_is_enough_to_talk_to_a_service(wire: Wire) -> None:
    wire.on("GET /v1/models", Answer({"data": [{"id": "m", "layers": None}]}))
    done = run_in_base_installation("models", "--url", wire.url)
    assert done.returncode == 0, done.stderr
    assert "not described yet" in done.stdout


@pytest.mark.parametrize("command", ["up", "demo", "keys list", "webhooks secret"])
def test_what_the_base_installation_cannot_do_is_told_with_what_it_takes(command: str) -> None:
    done = run_in_base_installation(*command.split())
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("This needs redis")
    assert "polyseme[embedded]" in done.stderr
    assert "Traceback" not in done.stderr
