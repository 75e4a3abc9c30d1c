"""The sentences of a whole analysis of real prose, by a tokenizer that cuts most words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks.sentences import find_misquoted, quoted_in
from polyseme.contract.files.results import NEURONS, VECTORS, report_file
from polyseme.contract.records.request import AnalysisRequest, Contexts, Neurons
from polyseme.workers.analysis.run import run_analysis
from tests.tiny_models import load_tiny

_PROSE = (
    "The committee's report, published in 1996, said that prices had risen by 3,500 pounds a year. "
    "Nobody believed it.\nThere is a bridge over the river; there are no others for forty miles. "
    "“We were wrong,” Johnson wrote in the U.S. edition, and he couldn't have known why. "
)


def make_documents() -> list[str]:
    """Cut at any character, so that windows and documents end within words."""
    long = "".join(f"{i}. {_PROSE[i * 7 % 200 :]}" for i in range(36))
    return [long[first : first + 700] for first in range(0, len(long), 700)]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sentences")
    model = load_tiny("llama", folder / "model")
    contexts = Contexts(window=24, per_document=None, tails="both", near_duplicates="keep")
    request = AnalysisRequest(model.card.id, "c", Neurons(layers=(2,)), contexts)
    run_analysis(model, request, make_documents(), folder / "result")
    return folder / "result"


def sentences_of(result: Path) -> list[str]:
    found = pq.read_table(result / NEURONS, columns=["meaning", "negative_meaning"])
    return [s for column in found.columns for s in column.to_pylist()]


def test_every_neuron_has_a_sentence_for_each_tail(result: Path) -> None:
    found = sentences_of(result)

    assert len(found) == 2 * 48
    assert all(found)
    assert sum(len(list(quoted_in(s))) for s in found) > 100


def test_no_quoted_word_is_a_piece_of_one(result: Path) -> None:
    assert find_misquoted(sentences_of(result), make_documents()) == []


def test_shares_in_a_sentence_and_what_is_mixed_make_the_whole(result: Path) -> None:
    rows = pq.read_table(result / report_file(2), columns=["meaning", "senses", "coverage"])
    checked = 0
    for row in rows.to_pylist():
        if not row["senses"] or "more (" in row["meaning"] or "Mostly" in row["meaning"]:
            continue
        said = sum(map(int, percents(row["meaning"])))
        expected = 100 if row["coverage"] <= 0.9 else 100 * row["coverage"]
        assert abs(said - expected) <= 1 + len(row["senses"]), row["meaning"]
        checked += 1
    assert checked > 10


def percents(sentence: str) -> list[str]:
    import re

    return re.findall(r"(\d+) %", sentence)


def test_a_sense_has_its_name_and_the_scripts_of_its_words(result: Path) -> None:
    senses: list[dict[str, Any]] = [
        sense
        for row in pq.read_table(result / report_file(2), columns=["senses"])["senses"].to_pylist()
        for sense in row
    ]

    assert all(sense["name"] for sense in senses)
    assert {found["language"] for sense in senses for found in sense["languages"]} == {"Latin"}
    assert all(sum(f["share"] for f in s["languages"]) < 1.001 for s in senses)


def test_what_stands_beside_each_word_is_kept_for_senses_made_anew(result: Path) -> None:
    kept = pq.read_table(result / VECTORS, columns=["word", "before", "after"]).to_pylist()
    text = "\n\n".join(make_documents())

    beside = [k["before"] + k["word"] + k["after"] for k in kept]
    assert all(found.strip("\ufffd") in text for found in beside)
    assert any(found.endswith("\ufffd") for found in beside)
