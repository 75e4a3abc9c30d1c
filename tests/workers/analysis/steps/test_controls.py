"""Control units of a whole analysis: scanned exactly, whatever else is, and kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from polyseme.contract.files.results import (
    GHOST_SCALARS,
    GHOSTS,
    MANIFEST,
    NEURONS,
    SUMMARY,
    ghosts_file,
)
from polyseme.workers.analysis.machine.limits import Limits
from polyseme.workers.analysis.models.capture import run_block
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.models.tokens import tokenize
from polyseme.workers.analysis.run import run_analysis
from polyseme.workers.analysis.sites.controls import Controls, count_controls
from polyseme.workers.analysis.sites.table import SITES
from tests.factories import make_request, make_texts
from tests.tiny_models import LAYERS, load_tiny
from tests.workers.analysis.builders import points_of, tap_inputs

CONTEXTS = {"window": 32, "top_k": 6, "sampled": 5, "tails": "both"}
SMALL = Limits(block_tokens=256, shard_tokens=1000)
EACH = count_controls(LAYERS)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_tiny("llama", tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def result(model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return analyse(model, tmp_path_factory.mktemp("result"))


def analyse(
    model: LoadedModel, folder: Path, *, limits: Limits = SMALL, texts: int = 60, **options: Any
) -> Path:
    defaults: dict[str, Any] = {"contexts": CONTEXTS, "tokens": {"exclude_special": False}}
    request = make_request(model=model.card.id, **defaults | options)
    run_analysis(model, request, make_texts(texts), folder, limits=limits)
    return folder


def read_controls(folder: Path) -> pa.Table:
    return pq.read_table(folder / GHOSTS)


def files_of_controls(folder: Path) -> dict[str, bytes]:
    names = [GHOSTS, *map(ghosts_file, range(LAYERS))]
    return {name: (folder / name).read_bytes() for name in names}


def test_each_layer_has_its_control_units(result: Path) -> None:
    table = read_controls(result)

    assert table.schema.names == GHOST_SCALARS.names
    assert table["layer"].to_pylist() == [n for n in range(LAYERS) for _ in range(EACH)]
    assert table["ghost"].to_pylist() == [*range(EACH)] * LAYERS
    contexts = pq.read_table(result / ghosts_file(1))
    assert contexts["ghost"].to_pylist() == [*range(EACH)]
    assert all(contexts["evidence"].to_pylist())


def test_their_extremes_are_those_of_the_weights_on_the_same_tokens(
    model: LoadedModel, tmp_path: Path
) -> None:
    texts = make_texts(8)
    analyse(model, tmp_path, texts=8, contexts={**CONTEXTS, "window": 64})
    recipe = SITES["mlp"].controls
    assert recipe is not None
    made = recipe.make(model.parts, 1, EACH)
    high, low = torch.full((EACH,), -torch.inf), torch.full((EACH,), torch.inf)
    for ids, _, _ in tokenize(model.tokenizer, texts):
        for first in range(0, len(ids), 64):
            window = torch.from_numpy(ids[first : first + 64].astype(np.int64))
            activations = run_controls(model, window[None], made)
            high = high.maximum(activations.amax((0, 1)))
            low = low.minimum(activations.amin((0, 1)))

    table = read_controls(tmp_path).filter(pa.compute.field("layer") == 1)

    np.testing.assert_allclose(table["max"], high.numpy(), rtol=1e-4)
    np.testing.assert_allclose(table["min"], low.numpy(), rtol=1e-4)


def run_controls(model: LoadedModel, ids: Tensor, made: Controls) -> Tensor:
    found: list[Tensor] = []
    tap = tap_inputs(model, lambda _layer, hidden: found.append(made(hidden)), [1])
    run_block(model, ids, None, points_of(model, [1]), lambda _layer, _x: None, tap)
    return found[0]


def test_they_are_the_same_for_any_shards(model: LoadedModel, result: Path, tmp_path: Path) -> None:
    other = analyse(model, tmp_path, limits=Limits(block_tokens=256, shard_tokens=10**6))

    assert files_of_controls(other) == files_of_controls(result)


def test_they_are_the_same_whichever_neurons_and_layers_are_asked_for(
    model: LoadedModel, result: Path, tmp_path: Path
) -> None:
    few = analyse(model, tmp_path, neurons={"indices": "3-4", "layers": [1]})

    wanted = read_controls(result).filter(pa.compute.field("layer") == 1)
    assert read_controls(few).equals(wanted)
    assert (few / ghosts_file(1)).read_bytes() == (result / ghosts_file(1)).read_bytes()


def test_percentiles_are_among_the_layers_control_units(result: Path) -> None:
    neurons = pq.read_table(result / NEURONS).filter(pa.compute.field("layer") == 2)
    controls = read_controls(result).filter(pa.compute.field("layer") == 2)

    for name, percentile in (
        ("polysemanticity", "score_percentile"),
        ("coverage", "coverage_percentile"),
        ("selectivity", "selectivity_percentile"),
        ("negative_selectivity", "negative_selectivity_percentile"),
    ):
        known = controls[name].drop_null().to_numpy()
        for value, found in zip(
            neurons[name].to_pylist(), neurons[percentile].to_pylist(), strict=True
        ):
            assert found == (None if value is None else pytest.approx(share(value, known)))


def share(value: float, among: np.ndarray) -> float:
    return float((among < value).mean() + (among == value).mean() / 2)


def test_nothing_is_claimed_of_a_unit_that_is_no_more_selective(result: Path) -> None:
    for table in (pq.read_table(result / NEURONS), read_controls(result)):
        claims = np.isin(table["status"].to_pylist(), ["polysemantic", "monosemantic"])
        percentiles = table["selectivity_percentile"].to_numpy()[claims]
        assert (percentiles > 0.95).all()


def test_the_summary_and_the_manifest_tell_of_them(result: Path) -> None:
    summary = json.loads((result / SUMMARY).read_text())
    manifest = json.loads((result / MANIFEST).read_text())

    controls = summary["controls"]
    assert controls["units"] == sum(controls["statuses"].values()) == LAYERS * EACH
    assert set(controls["medians"]) == {"polysemanticity", "coverage", "effective_senses"}
    assert [layer["controls"]["units"] for layer in summary["layers"]] == [EACH] * LAYERS
    assert manifest["controls"] == {"recipe": "permuted input rows", "per_layer": EACH, "seed": 21}


def test_a_site_without_control_units_has_no_percentiles_and_no_claims(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SITES, "mlp", replace(SITES["mlp"], controls=None))

    folder = analyse(model, tmp_path, texts=30)

    neurons = pq.read_table(folder / NEURONS)
    for name in ("score_percentile", "selectivity", "negative_selectivity_percentile"):
        assert neurons[name].null_count == len(neurons)
    assert set(neurons["status"].to_pylist()) <= {"described", "insufficient_evidence"}
    assert len(read_controls(folder)) == 0
    assert not (folder / "ghosts").exists()
    assert json.loads((folder / MANIFEST).read_text())["controls"] is None


def test_without_senses_there_are_none(model: LoadedModel, tmp_path: Path) -> None:
    folder = analyse(model, tmp_path, texts=20, senses={"enabled": False})

    assert len(read_controls(folder)) == 0
    assert not (folder / "ghosts").exists()


def test_blocks_are_cut_where_the_control_units_do_not_fit_into_memory(
    model: LoadedModel, result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = SITES["mlp"].controls
    assert recipe is not None
    sizes: list[int] = []

    def make(*layer: Any) -> Controls:
        made = recipe.make(*layer)

        def compute(hidden: Tensor) -> Tensor:
            if (size := hidden.shape[0] * hidden.shape[1]) > 100:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            sizes.append(size)
            return made(hidden)

        return compute

    tight = replace(SITES["mlp"], controls=replace(recipe, make=make))
    monkeypatch.setitem(SITES, "mlp", tight)
    cut = analyse(model, tmp_path)

    assert max(sizes) <= 100
    assert json.loads((cut / MANIFEST).read_text())["blocks_in_parts"] > 0
    # The last bits may differ: a window runs beside fewer others.
    for name in ("n_tokens", "density", "mean", "max", "min", "top_contexts"):
        found, wanted = (read_controls(f)[name].to_numpy() for f in (cut, result))
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5, err_msg=name)
