"""Senses made anew must be those that a whole new analysis would have found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from polyseme.contract.errors import AnalysisError
from polyseme.contract.files.results import MANIFEST, NEURONS, VECTORS, report_file
from polyseme.contract.files.store import Store
from polyseme.contract.records.request import AnalysisRequest, Contexts, Neurons, Senses
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.run import run_analysis
from polyseme.workers.analysis.steps.analysis import Analysis
from polyseme.workers.analysis.steps.regrouping import close_regrouping, read_corpus, regroup_layer
from tests.factories import make_texts
from tests.tiny_models import load_tiny

LAYERS = (0, 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_tiny("llama", tmp_path_factory.mktemp("model"))


def make_request(model: LoadedModel, senses: Senses) -> AnalysisRequest:
    contexts = Contexts(window=16, display_tokens=8, tails="both", near_duplicates="keep")
    return AnalysisRequest(model.card.id, "c", Neurons(layers=LAYERS), contexts, senses=senses)


def analyse(model: LoadedModel, folder: Path, senses: Senses) -> Path:
    run_analysis(model, make_request(model, senses), make_texts(120, seed=3), folder)
    return folder


def regroup(model: LoadedModel, folder: Path, source: str, senses: Senses) -> Path:
    """source: a folder beside `new`, both in `folder`."""
    store = Store(str(folder))
    request = replace(make_request(model, senses), source_job="job_of_old")
    analysis = Analysis(
        request, read_corpus(store, source), model.card, store, "work", "new", "lens", 1024, 32_768
    )
    for layer in analysis.layers:
        regroup_layer(analysis, source, layer)
    close_regrouping(analysis, source)
    return folder / "new"


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != MANIFEST
    }


@pytest.mark.parametrize(
    "senses", [Senses(), Senses(same_at=0.6, min_contexts=9), Senses(vectors="window")]
)
def test_the_result_is_that_of_a_whole_new_analysis(
    model: LoadedModel, tmp_path: Path, senses: Senses
) -> None:
    analyse(model, tmp_path / "old", Senses(min_contexts=6))
    wanted = files_of(analyse(model, tmp_path / "wanted", senses))

    found = files_of(regroup(model, tmp_path, "old", senses))

    assert set(found) == set(wanted)
    assert [name for name in wanted if found[name] != wanted[name]] == []


def test_another_limit_changes_the_senses(model: LoadedModel, tmp_path: Path) -> None:
    old = analyse(model, tmp_path / "old", Senses(same_at=0.8))

    new = regroup(model, tmp_path, "old", Senses(same_at=0.1))

    before, after = (pq.read_table(folder / NEURONS) for folder in (old, new))
    assert before.column("coverage").to_pylist() != after.column("coverage").to_pylist()
    assert set(after.column("same_at").to_pylist()) == {0.1}
    assert before.column("max").equals(after.column("max"))


def test_the_manifest_says_where_the_scan_came_from(model: LoadedModel, tmp_path: Path) -> None:
    analyse(model, tmp_path / "old", Senses())

    new = regroup(model, tmp_path, "old", Senses(same_at=0.6))

    request = json.loads((new / MANIFEST).read_text())["request"]
    assert (request["senses"]["same_at"], request["source_job"]) == (0.6, "job_of_old")


def test_a_result_without_vectors_is_refused(model: LoadedModel, tmp_path: Path) -> None:
    folder = analyse(model, tmp_path / "old", Senses(enabled=False))

    assert not (folder / VECTORS).exists()
    assert (folder / report_file(0)).exists()
    with pytest.raises(AnalysisError, match="senses switched off"):
        read_corpus(Store(str(tmp_path)), "old")


def test_a_result_of_before_a_column_is_grouped_anew(model: LoadedModel, tmp_path: Path) -> None:
    old = analyse(model, tmp_path / "old", Senses(min_contexts=6))
    wanted = files_of(analyse(model, tmp_path / "wanted", Senses()))
    for path in (old / "neurons.parquet", *(old / "reports").iterdir()):
        pq.write_table(pq.read_table(path).drop_columns(["decoder_norm"]), path)

    found = files_of(regroup(model, tmp_path, "old", Senses()))

    assert [name for name in wanted if found[name] != wanted[name]] == []
