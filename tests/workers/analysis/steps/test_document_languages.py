"""A sense's languages are those of its documents, where these name any."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from polyseme.contract.files.results import LANGUAGES, MANIFEST, report_file
from polyseme.contract.files.store import Store
from polyseme.contract.records.request import AnalysisRequest, Contexts, Neurons, Senses
from polyseme.contract.texts.languages import TextInLanguage, language_of
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.run import run_analysis
from polyseme.workers.analysis.steps.analysis import Analysis
from polyseme.workers.analysis.steps.document_languages import DocumentLanguages
from polyseme.workers.analysis.steps.regrouping import close_regrouping, read_corpus, regroup_layer
from tests.factories import make_texts
from tests.tiny_models import load_tiny

PLAIN = make_texts(120, seed=3)
SENSES = Senses()
# Two in three documents say theirs.
LANGUAGES_SAID = {"de", "English"}
SPOKEN = [
    text if i % 3 == 2 else TextInLanguage(text, ("de", "English")[i % 3])
    for i, text in enumerate(PLAIN)
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_tiny("llama", tmp_path_factory.mktemp("model"))


def make_request(model: LoadedModel, senses: Senses) -> AnalysisRequest:
    contexts = Contexts(window=16, display_tokens=8, tails="both", near_duplicates="keep")
    return AnalysisRequest(model.card.id, "c", Neurons(layers=(1,)), contexts, senses=senses)


def analyse(
    model: LoadedModel, folder: Path, texts: list[str], senses: Senses = SENSES
) -> dict[str, bytes]:
    run_analysis(model, make_request(model, senses), texts, folder)
    return files_of(folder)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def reports_of(folder: Path) -> list[dict[str, Any]]:
    columns = ["contexts", "evidence", "senses"]
    rows: list[dict[str, Any]] = pq.read_table(folder / report_file(1), columns=columns).to_pylist()
    return rows


def expect_languages(report: dict[str, Any], sense: dict[str, Any]) -> dict[str, float]:
    """By the contexts' documents, as the test has them; none is too small to be shown."""
    shares: dict[str | None, float] = {}
    for context in report["contexts"] + report["evidence"]:
        if (context["tail"], context["sense"]) == (sense["tail"], sense["sense"]):
            language = language_of(SPOKEN[context["document"]])
            shares[language] = shares.get(language, 0.0) + abs(context["activation"])
    whole = {name: mass / sum(shares.values()) for name, mass in shares.items()}
    return {name: share for name, share in whole.items() if name and share >= 0.05}


def test_a_sense_has_the_languages_of_its_documents_and_else_the_script(
    model: LoadedModel, tmp_path: Path
) -> None:
    analyse(model, tmp_path, SPOKEN)

    checked, scripts = 0, set[str]()
    for report in reports_of(tmp_path):
        for sense in report["senses"]:
            found = {f["language"]: f["share"] for f in sense["languages"]}
            expected = expect_languages(report, sense)
            assert {n: s for n, s in found.items() if n in LANGUAGES_SAID} == pytest.approx(
                expected
            )
            scripts |= found.keys() - LANGUAGES_SAID
            checked += len(expected) > 1
    assert checked > 10
    assert "Latin" in scripts
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest["corpus"]["languages"] == {"English": 40, "de": 40}
    assert LANGUAGES in manifest["files"]


def test_nothing_but_the_languages_depends_on_them(model: LoadedModel, tmp_path: Path) -> None:
    plain = analyse(model, tmp_path / "plain", PLAIN)
    spoken = analyse(model, tmp_path / "spoken", SPOKEN)

    differ = {name for name in {*plain, *spoken} if plain.get(name) != spoken.get(name)}
    assert differ == {MANIFEST, report_file(1), LANGUAGES}
    rows, others = (reports_of(tmp_path / name) for name in ("plain", "spoken"))
    for row in [*rows, *others]:
        for sense in row["senses"]:
            del sense["languages"]
    assert rows == others
    assert "languages" not in json.loads(plain[MANIFEST])["corpus"]


def test_a_job_without_senses_keeps_no_languages(model: LoadedModel, tmp_path: Path) -> None:
    assert LANGUAGES not in analyse(model, tmp_path, SPOKEN, Senses(enabled=False))


def test_senses_made_anew_have_them_without_the_corpus(model: LoadedModel, tmp_path: Path) -> None:
    wanted = analyse(model, tmp_path / "wanted", SPOKEN, Senses(same_at=0.6))
    analyse(model, tmp_path / "old", SPOKEN, Senses(min_contexts=6))
    store = Store(str(tmp_path))
    request = replace(make_request(model, Senses(same_at=0.6)), source_job="job_of_old")
    places = (store, "work", "new", "lens", 1024, 32_768)
    analysis = Analysis(request, read_corpus(store, "old"), model.card, *places)

    regroup_layer(analysis, "old", 1)
    close_regrouping(analysis, "old")

    found = files_of(tmp_path / "new")
    assert {n for n in {*found, *wanted} if found.get(n) != wanted.get(n)} == {MANIFEST}


def test_documents_are_numbered_by_language() -> None:
    noted = DocumentLanguages.of(["de", None, "en", "de"])

    again = DocumentLanguages.from_arrays(noted.to_arrays())

    assert (again.names, again.code.tolist()) == (["de", "en"], [0, -1, 1, 0])
    assert again.of_documents(np.array([1, 3, 2])) == [None, "de", "en"]
