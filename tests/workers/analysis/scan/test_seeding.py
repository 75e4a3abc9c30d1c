"""Shards that begin with what others have found: in any order, again, and when the file is of no
use.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from polyseme.contract.errors import DamagedFile
from polyseme.contract.files.documents import write_documents
from polyseme.contract.files.store import Store
from polyseme.workers.analysis.files.arrays import partial_file, read_arrays, write_arrays
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.steps.analysis import Analysis
from polyseme.workers.analysis.steps.merging import merge_layer
from polyseme.workers.analysis.steps.scan_shard import scan_shard
from tests.factories import make_request, make_texts
from tests.tiny_models import load_tiny
from tests.workers.analysis.builders import plan_analysis

SHARDS = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_tiny("llama", tmp_path_factory.mktemp("model"))


@pytest.fixture
def make_analysis(model: LoadedModel, tmp_path: Path) -> Callable[[str], Analysis]:
    """A planned analysis in a folder of its own, of at least SHARDS shards."""

    def make(name: str) -> Analysis:
        request = make_request(
            contexts={"window": 16, "top_k": 3, "tails": "both"}, senses={"enabled": False}
        )
        store = Store(str(tmp_path / name))
        with store.writing("documents.parquet") as f:
            corpus = write_documents(make_texts(60), f, name=request.corpus, max_documents=100)
        analysis = Analysis(request, corpus, model.card, store, "work", "result", "lens", 128, 256)
        assert len(plan_analysis(analysis, model, make_texts(60)).shards) >= SHARDS
        return analysis

    return make


def scan_shards(analysis: Analysis, model: LoadedModel, shards: Sequence[int]) -> None:
    for shard in shards:
        scan_shard(analysis, model, shard)


def count_shards(analysis: Analysis) -> int:
    return len(analysis.store.names("work/windows"))


def merged(analysis: Analysis, model: LoadedModel) -> bytes:
    merge_layer(analysis, model, 1)
    return b"".join(
        analysis.store.read(f"result/reports/{name}")
        for name in analysis.store.names("result/reports")
    )


def kept(analysis: Analysis, shard: int) -> int:
    """The entries that a shard's partial has of layer 1."""
    return len(
        read_arrays(analysis.store, partial_file("work", shard), "001/positive/top/")["keys"]
    )


def test_shards_in_any_order_and_scanned_again_give_the_same_reports(
    model: LoadedModel, make_analysis: Callable[[str], Analysis], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = make_analysis("alone")
    shards = range(count_shards(alone))
    with monkeypatch.context() as patch:
        patch.setattr("polyseme.workers.analysis.steps.scan_shard.seed_lists", lambda *_: None)
        scan_shards(alone, model, shards)
    wanted = merged(alone, model)
    shuffled = [*shards]
    random.Random(0).shuffle(shuffled)

    for name, order in {
        "in order": [*shards],
        "backwards": [*shards][::-1],
        "shuffled": shuffled,
    }.items():
        analysis = make_analysis(name)
        scan_shards(analysis, model, order)
        assert merged(analysis, model) == wanted, name
        # As when a partial was lost, and when a worker died after it had written all but its unit's
        # end.
        for again in (0, 3, shards[-1], shards[-2]):
            analysis.store.delete(partial_file("work", again))
            scan_shard(analysis, model, again)
        assert merged(analysis, model) == wanted, f"{name}, some again"


def test_later_partials_hold_less_and_one_file_of_what_is_known_is_left(
    model: LoadedModel, make_analysis: Callable[[str], Analysis]
) -> None:
    analysis = make_analysis("job")
    shards = count_shards(analysis)

    scan_shards(analysis, model, range(shards))

    entries = [kept(analysis, shard) for shard in range(shards)]
    assert np.mean(entries[3:]) < entries[0] / 2
    assert analysis.store.names("work/known") == [
        f"{shards - 2:06d}.npz"
    ]  # nobody would read the last shard's


@pytest.mark.parametrize("damage", ["gone", "cut", "changed"])
def test_lists_begin_empty_where_what_is_known_cannot_be_read(
    model: LoadedModel,
    make_analysis: Callable[[str], Analysis],
    damage: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    analysis = make_analysis("job")
    path = "work/known/000001.npz"
    scan_shards(analysis, model, [0, 1, 2])
    less, content = kept(analysis, 2), analysis.store.read("work/known/000002.npz")
    analysis.store.delete("work/known")
    if damage == "gone":
        monkeypatch.setattr(analysis.store, "names", lambda folder: [path.rpartition("/")[2]])
    elif damage == "cut":
        analysis.store.write(path, content[:-100])
    else:
        analysis.store.write(path, content[:200] + b"\xff" * 8 + content[208:])

    scan_shard(analysis, model, 2)

    monkeypatch.undo()
    assert kept(analysis, 2) > less


def test_a_partial_of_a_version_that_wrote_whole_lists_is_unfit(
    model: LoadedModel, make_analysis: Callable[[str], Analysis]
) -> None:
    analysis = make_analysis("job")
    write_arrays(
        analysis.store,
        partial_file("work", 0),
        {"001/positive/top/keys": np.zeros((4, 3), np.int64)},
    )

    with pytest.raises(DamagedFile, match="earlier version"):
        merge_layer(analysis, model, 1)
