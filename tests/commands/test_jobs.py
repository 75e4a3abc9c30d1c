from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polyseme.commands.jobs import describe_units
from polyseme.commands.neurons import format_size
from tests.client.standins import run_polyseme
from tests.client.wire import Answer, Wire, job_state

REQUEST = {
    "model": "m",
    "corpus": {"id": "books"},
    "neurons": {"layers": "0-3", "indices": [7, 9]},
    "senses": {"enabled": True, "same_at": 0.5},
    "source_job": None,
}


def test_a_job_in_the_list_says_what_it_is(tmp_path: Path, wire: Wire) -> None:
    ended = {"status": "succeeded", "phase": "ended", "progress": {"eta_seconds": None}}
    jobs = [
        job_state(request=REQUEST, metadata={"name": "first try"}, **ended),
        job_state(id="job_20", request=REQUEST | {"senses": {"enabled": False}}, **ended),
    ]
    wire.on("GET /v1/jobs?metadata=name%3Dfirst+try", Answer({"data": jobs}))

    done = run_polyseme(["jobs", "list", "--name", "first try", "--url", wire.url], tmp_path)

    assert done.stdout.splitlines() == [
        "job_1   succeeded  2026-11-24 05:00  m  books  layers 0-3, neurons 7,9  same at 0.5  "
        "first try  250 of 1,000 tokens, 500 tokens/s",
        "job_20  succeeded  2026-11-24 05:00  m  books  layers 0-3, neurons 7,9  no senses    "
        "           250 of 1,000 tokens, 500 tokens/s",
    ], done.stderr


def test_all_of_a_model_are_all_layers() -> None:
    assert describe_units({"layers": "all", "indices": "all"}) == "all layers"


@pytest.mark.parametrize(
    ("neurons", "words"),
    [
        (
            {"site": "resid_post", "layers": "3", "indices": (7, 9)},
            "resid_post, layers 3, units 7,9",
        ),
        (
            {"site": "vectors", "vectors": "vec_1", "layers": [3], "indices": "all"},
            "vec_1, layers 3",
        ),
        (
            {"site": "dictionary", "dictionary": ["a", "b"], "layers": "3,5", "indices": "0-9"},
            "latents of a, b, latents 0-9",
        ),
    ],
)
def test_other_units_say_what_they_are(neurons: dict[str, Any], words: str) -> None:
    assert describe_units(neurons) == words


def test_where_a_result_is_read_last_is_the_newest_that_succeeded(
    tmp_path: Path, wire: Wire
) -> None:
    wire.on("GET /v1/jobs?limit=1&status=succeeded", Answer({"data": [job_state(id="job_9")]}))
    wire.on("GET /v1/jobs/job_9/neurons?sort=-polysemanticity&limit=20", Answer({"data": [{}]}))

    done = run_polyseme(["neurons", "last", "--json", "--url", wire.url], tmp_path)

    assert (done.returncode, done.stdout) == (0, "{}\n"), done.stderr


def test_without_a_job_that_succeeded_there_is_no_last(tmp_path: Path, wire: Wire) -> None:
    wire.on("GET /v1/jobs?limit=1&status=succeeded", Answer({"data": []}))

    done = run_polyseme(["export", "last", "x.zip", "--url", wire.url], tmp_path)

    assert (done.returncode, done.stderr.splitlines()[0][:41]) == (
        5,
        "There is no job that has succeeded yet; `",
    )


def test_senses_are_made_anew_with_what_is_given(tmp_path: Path, wire: Wire) -> None:
    wire.on("POST /v1/jobs/job_1/senses", Answer(job_state(id="job_2"), 202))

    done = run_polyseme(
        [
            "senses",
            "job_1",
            "--same-at",
            "0.5",
            "--name",
            "strict",
            "--no-watch",
            "--url",
            wire.url,
        ],
        tmp_path,
    )

    assert done.stdout == "job_2\n", done.stderr
    assert wire.asked[0].json() == {"same_at": 0.5, "metadata": {"name": "strict"}}


def test_analyse_sends_the_options_of_a_request(tmp_path: Path, wire: Wire) -> None:
    wire.on("POST /v1/jobs", Answer(job_state(), 202))
    options: dict[str, Any] = {
        "--sampled": 0,
        "--vectors": "window",
        "--min-contexts": 5,
        "--bos": "never",
        "--exclude-sinks": 10,
        "--name": "n",
        "--metadata": "run=7",
        "--webhook": "https://example.org/x",
    }
    words = [str(word) for pair in options.items() for word in pair]

    run_polyseme(["analyse", "m", "c", *words, "--no-watch", "--url", wire.url], tmp_path)

    sent = wire.asked[0].json()
    assert sent["contexts"] == {"top_k": 60, "sampled": 0}
    assert sent["senses"] == {"min_contexts": 5, "vectors": "window"}
    assert sent["tokens"] == {"bos": "never", "exclude_sinks": 10}
    assert sent["metadata"] == {"run": "7", "name": "n"}
    assert sent["webhook"] == {"url": "https://example.org/x"}


@pytest.mark.parametrize(
    ("given", "sent"), [("res-9", "res-9"), ("res-9, res-12", ["res-9", "res-12"])]
)
def test_dictionaries_are_named_in_place_of_a_site(
    tmp_path: Path, wire: Wire, given: str, sent: Any
) -> None:
    wire.on("POST /v1/jobs", Answer(job_state(), 202))
    arguments = ["analyse", "m", "c", "--dictionary", given, "--neurons", "0-99", "--no-watch"]

    done = run_polyseme([*arguments, "--url", wire.url], tmp_path)

    assert done.returncode == 0, done.stderr
    assert wire.asked[0].json()["neurons"] == {"dictionary": sent, "indices": "0-99"}


def test_the_field_with_the_text_goes_with_the_upload(tmp_path: Path, wire: Wire) -> None:
    (tmp_path / "c.jsonl").write_text('{"body": "one"}\n')
    upload = "POST /v1/corpora?name=mine&filename=c.jsonl&field=body"
    wire.on(upload, Answer({"id": "mine", "documents": 1}, 201))
    wire.on("POST /v1/jobs", Answer(job_state(), 202))
    names = ["--field", "body", "--corpus-name", "mine"]

    done = run_polyseme(
        ["analyse", "m", "c.jsonl", *names, "--no-watch", "--url", wire.url], tmp_path
    )

    assert done.returncode == 0, done.stderr


def test_what_is_neither_a_file_nor_a_corpus_is_called_missing(tmp_path: Path, wire: Wire) -> None:
    refusal = {
        "code": "corpus_not_found",
        "detail": "no corpus 'texts.txt': upload it",
        "errors": [],
    }
    wire.on("POST /v1/jobs", Answer(refusal, 422))

    done = run_polyseme(["analyse", "m", "texts.txt", "--url", wire.url], tmp_path)

    assert done.returncode == 5
    assert done.stderr == (
        "texts.txt: there is no such file or folder here, and the service has no corpus with this "
        "id.\n"
    )


def test_a_file_to_upload_that_is_not_there_is_called_missing(tmp_path: Path, wire: Wire) -> None:
    done = run_polyseme(["corpora", "add", "texts.txt", "--url", wire.url], tmp_path)

    assert (done.returncode, wire.asked) == (5, [])
    assert done.stderr == "texts.txt: there is no such file or folder.\n"


def test_a_refusal_is_printed_once(tmp_path: Path, wire: Wire) -> None:
    detail = "layer 99 of m: it has 0 to 29"
    errors = [{"pointer": "/neurons/layers", "detail": detail}]
    wire.on(
        "POST /v1/jobs", Answer({"code": "unknown_layer", "detail": detail, "errors": errors}, 422)
    )

    done = run_polyseme(["analyse", "m", "c", "--layers", "99", "--url", wire.url], tmp_path)

    assert done.stderr == f"/neurons/layers: {detail} (status 422, unknown_layer)\n"


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (1, "1 byte"),
        (999, "999 bytes"),
        (1500, "1.5 kB (1,500 bytes)"),
        (2_340_000, "2.3 MB (2,340,000 bytes)"),
    ],
)
def test_a_size_is_said_in_a_readable_unit(size: int, said: str) -> None:
    assert format_size(size) == said


def test_pairs_of_metadata_are_read(tmp_path: Path, wire: Wire) -> None:
    done = run_polyseme(["senses", "job_1", "--metadata", "x", "--url", wire.url], tmp_path)

    assert (done.returncode, done.stderr) == (2, "--metadata x: expected NAME=VALUE.\n")
    assert wire.asked == []
