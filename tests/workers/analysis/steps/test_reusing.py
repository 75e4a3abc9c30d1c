"""A result with layers taken over from other results must be the one that a scan of all would have
given.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polyseme.contract.files.documents import read_documents, read_languages, write_documents
from polyseme.contract.files.results import LANGUAGES, MANIFEST, VECTORS, report_file
from polyseme.contract.files.seals import format_manifest, parse_manifest, seals_of
from polyseme.contract.files.store import Store
from polyseme.contract.records.request import AnalysisRequest, Contexts, Neurons, Senses
from polyseme.contract.texts.languages import TextInLanguage
from polyseme.workers.analysis.models import capture
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.steps.analysis import Analysis
from polyseme.workers.analysis.steps.closing import close_analysis
from polyseme.workers.analysis.steps.copies import UselessResult, copy_result
from polyseme.workers.analysis.steps.document_languages import has_languages, note_languages
from polyseme.workers.analysis.steps.manifest import scan_address
from polyseme.workers.analysis.steps.merging import merge_layer
from polyseme.workers.analysis.steps.projecting import measure_background, project_shard
from polyseme.workers.analysis.steps.reusing import reuse_layer
from polyseme.workers.analysis.steps.scan_shard import scan_shard
from tests.factories import make_texts
from tests.tiny_models import load_tiny
from tests.workers.analysis.builders import plan_analysis

CONTEXTS = Contexts(window=16, display_tokens=8, tails="both", near_duplicates="keep")
TEXTS = make_texts(60, seed=3)
SENSES = Senses()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_tiny("llama", tmp_path_factory.mktemp("model"))


class Lab:
    """Results under names, in one store."""

    def __init__(self, model: LoadedModel, folder: Path, texts: Sequence[str] = TEXTS) -> None:
        self.model, self.folder, self.store = model, folder, Store(str(folder))
        with self.store.writing("documents.parquet") as f:
            self.corpus = write_documents(
                texts, f, name="c", max_documents=1000, has_languages=True
            )

    def prepare(
        self,
        name: str,
        layers: tuple[int, ...],
        senses: Senses,
        reused: Mapping[str, tuple[int, ...]] | None = None,
    ) -> Analysis:
        request = AnalysisRequest(
            self.model.card.id, "c", Neurons(layers=layers), CONTEXTS, senses=senses
        )
        places = (self.store, f"work-{name}", name, "lens", 1024, 1500)
        return Analysis(request, self.corpus, self.model.card, *places, reused=reused or {})

    def make(
        self, name: str, layers: tuple[int, ...], senses: Senses = SENSES, **reused: tuple[int, ...]
    ) -> Path:
        """A whole result. reused: layers by the name of the result that they are taken from."""
        analysis, model = self.prepare(name, layers, senses, reused), self.model
        for source in reused:
            copy_result(analysis, source, source, scan_address(analysis, model))
            self.store.delete(source)
        if has_languages(analysis):
            with self.store.open("documents.parquet") as f:
                note_languages(analysis, read_languages(f))
        if analysis.scanned:
            self.scan(analysis)
        for layer in layers:
            if layer in analysis.scanned:
                merge_layer(analysis, model, layer)
            else:
                reuse_layer(analysis, layer)
        close_analysis(analysis, model)
        return self.folder / name

    def scan(self, analysis: Analysis) -> None:
        with self.store.open("documents.parquet") as f:
            shards = len(plan_analysis(analysis, self.model, read_documents(f)).shards)
        for shard in range(shards):
            scan_shard(analysis, self.model, shard)
        if analysis.request.senses.enabled:
            measure_background(analysis, self.model)
            for shard in range(shards):
                project_shard(analysis, shard)


@pytest.fixture
def lab(model: LoadedModel, tmp_path: Path) -> Lab:
    return Lab(model, tmp_path)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def assert_same(found: Path, wanted: Path, reused: dict[str, str]) -> None:
    """But for the note of what was taken over."""
    one, other = files_of(found), files_of(wanted)
    ours, theirs = (json.loads(files.pop(MANIFEST)) for files in (one, other))
    for manifest in (ours, theirs):
        del manifest["seal"]
    assert ours == theirs | {"reused": reused}
    assert theirs["reused"] is None
    assert sorted(one) == sorted(other)
    assert [name for name in one if one[name] != other[name]] == []


OTHER = Senses(same_at=0.6, min_contexts=9)
NONE = Senses(enabled=False)


@pytest.mark.parametrize(
    ("before", "senses", "layers", "taken"),
    [
        ({"a": ((0, 2), Senses())}, Senses(), (0, 1, 2), {"a": (0, 2)}),  # some are scanned
        (
            {"a": ((1,), OTHER)},
            Senses(),
            (0, 1),
            {"a": (1,)},
        ),  # and those taken over get other senses
        ({"a": ((0, 1), Senses())}, Senses(), (0, 1), {"a": (0, 1)}),  # the same again
        ({"a": ((0, 1, 2), Senses())}, Senses(), (1,), {"a": (1,)}),  # fewer
        ({"a": ((0, 1), OTHER)}, Senses(), (0, 1), {"a": (0, 1)}),  # another limit
        ({"a": ((0, 1), Senses())}, Senses(vectors="window"), (0, 1), {"a": (0, 1)}),
        (
            {"a": ((0, 2), Senses()), "b": ((1,), OTHER)},
            Senses(),
            (0, 1, 2),
            {"a": (0, 2), "b": (1,)},
        ),  # from two
        (
            {"a": ((0,), NONE), "b": ((2,), NONE)},
            NONE,
            (0, 2),
            {"a": (0,), "b": (2,)},
        ),  # without senses
        ({"a": ((0,), NONE)}, NONE, (0, 1), {"a": (0,)}),
    ],
)
def test_the_result_is_that_of_a_scan_of_all_layers(
    lab: Lab,
    before: dict[str, tuple[tuple[int, ...], Senses]],
    senses: Senses,
    layers: tuple[int, ...],
    taken: dict[str, tuple[int, ...]],
) -> None:
    wanted = lab.make("wanted", layers, senses)
    for name, (own, options) in before.items():
        lab.make(name, own, options)

    found = lab.make("found", layers, senses, **taken)

    assert_same(
        found,
        wanted,
        {name: ",".join(map(str, own)).replace("0,1", "0-1") for name, own in taken.items()},
    )


def test_what_was_taken_over_can_be_taken_over_again(lab: Lab) -> None:
    wanted = lab.make("wanted", (0, 1, 2))
    lab.make("a", (0,))
    lab.make("b", (0, 1), a=(0,))

    found = lab.make("found", (0, 1, 2), b=(0, 1))

    assert_same(found, wanted, {"b": "0-1"})


def test_the_model_runs_no_deeper_than_the_deepest_layer_that_is_missing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.make("a", (1, 2), NONE)
    seen: set[tuple[int, ...]] = set()
    run = capture.run_block
    monkeypatch.setattr(
        "polyseme.workers.analysis.steps.analysis.run_block",
        lambda model, ids, mask, layers, *rest: (
            seen.add(tuple(layers)),
            run(model, ids, mask, layers, *rest),
        ),
    )

    lab.make("found", (0, 1, 2), NONE, a=(1, 2))

    assert seen == {(0,)}


def test_layers_taken_over_have_the_languages_of_their_documents(
    model: LoadedModel, tmp_path: Path
) -> None:
    texts = [TextInLanguage(text, ("de", "en")[i % 2]) for i, text in enumerate(TEXTS)]
    lab = Lab(model, tmp_path, texts)
    wanted = lab.make("wanted", (0, 1), Senses())
    lab.make("a", (0,), OTHER)
    lab.make("b", (1,), Senses())

    found = lab.make("found", (0, 1), Senses(), a=(0,), b=(1,))

    assert (found / LANGUAGES).exists()
    assert_same(found, wanted, {"a": "0", "b": "1"})


@pytest.fixture(scope="module")
def ready(model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result of layers 0 and 1."""
    return Lab(model, tmp_path_factory.mktemp("ready")).make("a", (0, 1))


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [Path.unlink, cut_short, flip])
@pytest.mark.parametrize(
    "name",
    [
        report_file(1),
        VECTORS,
        "fires/layer-001.npz",
        "neurons.parquet",
        "background.npz",
        "ghosts.parquet",
        "ghosts/layer-001.parquet",
    ],
)
def test_a_source_that_is_not_whole_is_not_used(
    lab: Lab, ready: Path, name: str, spoil: Callable[[Path], Any]
) -> None:
    shutil.copytree(ready, lab.folder / "a")
    spoil(lab.folder / "a" / name)
    analysis = lab.prepare("found", (0, 1), Senses(), {"a": (0, 1)})

    with pytest.raises(UselessResult) as caught:
        copy_result(analysis, "a", "a", scan_address(analysis, lab.model))

    layers = caught.value.layers
    assert layers is None if "layer-" not in name else list(layers or ()) == [1]


def test_a_source_with_another_scan_is_not_used(lab: Lab, ready: Path) -> None:
    shutil.copytree(ready, lab.folder / "a")
    analysis = lab.prepare("found", (0, 1), Senses(), {"a": (0, 1)})
    other = replace(analysis, block_tokens=512)

    with pytest.raises(UselessResult, match="another"):
        copy_result(analysis, "a", "a", scan_address(other, lab.model))


def test_a_source_with_blocks_that_were_cut_is_not_used(lab: Lab, ready: Path) -> None:
    shutil.copytree(ready, lab.folder / "a")
    path = lab.folder / "a" / MANIFEST
    manifest = parse_manifest(path.read_bytes())
    path.write_bytes(format_manifest(manifest | {"blocks_in_parts": 1}, seals_of(manifest)))
    analysis = lab.prepare("found", (0, 1), Senses(), {"a": (0, 1)})

    with pytest.raises(UselessResult, match="another"):
        copy_result(analysis, "a", "a", scan_address(analysis, lab.model))
