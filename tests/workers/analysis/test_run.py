"""A whole analysis in one process, and the documents of a file."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from polyseme.contract.errors import InvalidCorpus
from polyseme.contract.files.results import NEURONS, REPORTS, SCALARS, report_file
from polyseme.contract.texts.languages import language_of
from polyseme.workers.analysis.__main__ import _read_corpus
from polyseme.workers.analysis.machine.limits import Limits
from polyseme.workers.analysis.run import read_texts, run_analysis
from tests.factories import make_request, make_texts
from tests.tiny_models import LAYERS, load_tiny
from tests.tiny_models import NEURONS as WIDTH


def test_a_run_leaves_a_result_and_nothing_else(tmp_path: Path) -> None:
    model = load_tiny("llama", tmp_path / "model")
    seen: list[tuple[str, int, int]] = []
    request = make_request(model=model.card.id, contexts={"window": 32})

    run_analysis(
        model,
        request,
        make_texts(),
        tmp_path / "run",
        limits=Limits(256, 500),
        on_progress=lambda *p: seen.append(p),
    )

    found = {str(p.relative_to(tmp_path / "run")) for p in (tmp_path / "run").iterdir()}
    assert found == {
        "manifest.json",
        "summary.json",
        "neurons.parquet",
        "tokens.parquet",
        "vectors.parquet",
        "background.npz",
        "ghosts.parquet",
        "reports",
        "fires",
        "ghosts",
    }
    neurons = pq.read_table(tmp_path / "run" / NEURONS)
    assert neurons.schema.equals(SCALARS)
    assert len(neurons) == LAYERS * WIDTH
    assert pq.read_schema(tmp_path / "run" / report_file(0)).equals(REPORTS)
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert sum(summary["statuses"].values()) == summary["neurons"] == LAYERS * WIDTH
    assert [layer["neurons"] for layer in summary["layers"]] == [WIDTH] * LAYERS
    assert {phase for phase, _, _ in seen} == {"planning", "scanning", "merging"}
    assert seen[-1] == ("merging", LAYERS, LAYERS)


def test_documents_are_read_from_lines_and_from_json(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n"two"\n')

    assert (
        list(read_texts(tmp_path / "a.txt"))
        == list(read_texts(tmp_path / "a.jsonl"))
        == ["one", "two"]
    )


@pytest.mark.parametrize("line", ["{", "3", '{"txt": "a"}'])
def test_a_line_without_a_text_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'"ok"\n{line}\n')

    with pytest.raises(InvalidCorpus, match="line 2"):
        list(read_texts(tmp_path / "a.jsonl"))


def test_a_bare_machine_reads_the_language_of_documents(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"body": "Haus", "lang": "de"}\n"maison"\n')
    corpus = {"path": str(file), "field": "body", "language_field": "lang"}

    texts = list(_read_corpus({"corpus": corpus}))

    assert list(zip(texts, map(language_of, texts), strict=True)) == [
        ("Haus", "de"),
        ("maison", None),
    ]
