"""What is kept of the contexts that a report does not show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from polyseme.contract.files.documents import write_documents
from polyseme.contract.files.results import (
    BACKGROUND,
    NEURONS,
    VECTORS,
    ghosts_file,
    report_file,
)
from polyseme.contract.files.store import Store
from polyseme.workers.analysis.corpus.surface_words import word_at
from polyseme.workers.analysis.run import run_analysis
from polyseme.workers.analysis.senses.layer_senses import Background
from tests.factories import make_request, make_texts
from tests.tiny_models import load_tiny

TEXTS = make_texts(150, seed=4)
TAILS = ("positive", "negative")
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_tiny("llama", tmp_path_factory.mktemp("model"))


def run(model: Any, folder: Path, **contexts: Any) -> Path:
    request = make_request(
        model=model.card.id,
        contexts={"window": 16, "tails": "both", **contexts},
        neurons={"layers": [1]},
    )
    run_analysis(model, request, TEXTS, folder)
    return folder


@pytest.fixture(scope="module")
def result(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(model, tmp_path_factory.mktemp("result"))


def reports_of(folder: Path) -> Rows:
    rows: Rows = pq.read_table(folder / report_file(1)).to_pylist()
    return rows


def place_of(context: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("tail", "sample", "document", "window", "position", "char_start", "char_end")
    return *(context[n] for n in names), context["activation"]


def test_the_first_of_each_list_are_shown_and_the_others_are_evidence(
    model: Any, result: Path, tmp_path: Path
) -> None:
    all_shown = reports_of(run(model, tmp_path, shown=60))

    for report, whole in zip(reports_of(result), all_shown, strict=True):
        assert whole["evidence"] == []
        for tail in TAILS:
            for sample in ("top", "activation"):
                shown, rest, every = (
                    [c for c in contexts if (c["tail"], c["sample"]) == (tail, sample)]
                    for contexts in (report["contexts"], report["evidence"], whole["contexts"])
                )
                assert [*map(place_of, shown), *map(place_of, rest)] == [*map(place_of, every)]
                # Fewer where more of a list's best than it has spare ones are left out.
                assert 0 < len(shown) <= 20 < len(every)
                assert all(c["band"] is None for c in every)
                known = {place_of(c): c for c in every}
                for c in shown:
                    other = known[place_of(c)]
                    assert {**c, "sense": 0} == {**other, "sense": 0}
        assert report["bands"] == []


def test_the_kinds_and_tails_stand_in_one_order_in_both_lists(result: Path) -> None:
    order = [(tail, sample) for tail in TAILS for sample in ("top", "activation")]

    for report in reports_of(result):
        for name in ("contexts", "evidence"):
            found = [order.index((c["tail"], c["sample"])) for c in report[name]]
            assert found == sorted(found)


def test_the_counts_are_of_both_lists(result: Path) -> None:
    scalars = pq.read_table(result / NEURONS).to_pylist()

    for report, row in zip(reports_of(result), scalars, strict=True):
        both = [c for c in report["contexts"] + report["evidence"] if c["tail"] == "positive"]
        assert row["top_contexts"] == sum(c["sample"] == "top" for c in both)
        assert row["sampled_contexts"] == sum(c["sample"] != "top" for c in both)
        assert row["distinct_contexts"] == sum(c["activation"] > 0 for c in both)
        assert sum(p["count"] for p in report["peak_tokens"]) == row["distinct_contexts"]


def test_a_smaller_selection_has_the_same_sample(model: Any, result: Path, tmp_path: Path) -> None:
    request = make_request(
        model=model.card.id,
        contexts={"window": 16, "tails": "both"},
        neurons={"layers": [1], "indices": [3, 17]},
    )
    run_analysis(model, request, TEXTS, tmp_path)

    of_all = {r["neuron"]: r for r in reports_of(result)}
    for report in reports_of(tmp_path):
        whole = of_all[report["neuron"]]
        assert [*map(place_of, report["evidence"])] == [*map(place_of, whole["evidence"])]


def test_every_peak_is_kept_with_its_token_word_and_neighbours(model: Any, result: Path) -> None:
    kept = {(r["window"], r["position"]): r for r in pq.read_table(result / VECTORS).to_pylist()}
    store = Store(str(result))
    with store.writing("documents.parquet") as f:
        write_documents(TEXTS, f, name="c", max_documents=1000)
    documents = pq.read_table(result / "documents.parquet").column("text").to_pylist()

    peaks = set()
    for report in reports_of(result):
        for c in report["contexts"] + report["evidence"]:
            row = kept[c["window"], c["position"]]
            peaks.add((c["window"], c["position"]))
            text, span = documents[c["document"]], (c["char_start"], c["char_end"])
            assert word_at(text, *span).startswith(row["word"]) or row["word"] in text
            assert row["near"][4] == row["token"]
        for c in report["contexts"]:
            at = c["position"] - c["display_start"]
            assert kept[c["window"], c["position"]]["token"] == c["tokens"][at]
        for c in report["evidence"]:
            assert kept[c["window"], c["position"]]["token"] == c["token"]
    for control in pq.read_table(result / ghosts_file(1)).to_pylist():
        for c in control["evidence"]:
            peaks.add((c["window"], c["position"]))
            assert kept[c["window"], c["position"]]["token"] == c["token"]
    assert set(kept) == peaks


def test_random_tokens_have_their_words(result: Path) -> None:
    background = Background.read(Store(str(result)), BACKGROUND)

    words = background.words.to_pylist()

    assert len(words) == len(background.row) > 100
    assert "river" in words
    assert background.near.shape == (len(words), 9)
    assert not np.isin(background.near[:, 4], -1).any()
