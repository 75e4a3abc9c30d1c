"""Neurons whose activations are not finite: they lose themselves, and where they poison the rest
the job says where it began.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from polyseme.contract.errors import NonFiniteActivation
from polyseme.contract.files.results import NEURONS as SCALARS_FILE
from polyseme.contract.files.results import REPORTS, report_file
from polyseme.workers.analysis.machine.limits import Limits
from polyseme.workers.analysis.models.load import LoadedModel, load_model
from polyseme.workers.analysis.run import run_analysis
from tests.factories import make_request, make_texts
from tests.tiny_models import LAYERS, NEURONS, change_weights, save_model, spoil_neurons

LAST = LAYERS - 1
Weights = dict[str, torch.Tensor]


def load_changed(
    folder: Path, change: Callable[[Weights], None], *, dtype: str = "float32"
) -> LoadedModel:
    """A tiny llama whose file was changed."""
    entry = save_model("llama", folder)
    change_weights(folder, change)
    return load_model(entry, device="cpu", dtype=dtype, cache=folder)


def load_broken(folder: Path, layer: int) -> LoadedModel:
    """One whose neurons 5 and 7 of a layer have weights that are not finite."""
    entry = save_model("llama", folder)
    spoil_neurons(folder, layer, (5, 7))
    return load_model(entry, device="cpu", dtype="float32", cache=folder)


def analyse(model: LoadedModel, folder: Path, **options: Any) -> Path:
    request = make_request(model=model.card.id, **{"contexts": {"window": 32}} | options)
    run_analysis(model, request, make_texts(60), folder, limits=Limits(256, 500))
    return folder


def read_rows(folder: Path) -> dict[tuple[int, int], dict[str, Any]]:
    rows = pq.read_table(folder / SCALARS_FILE).to_pylist()
    return {(row["layer"], row["neuron"]): row for row in rows}


def without_comparison(row: dict[str, Any]) -> dict[str, Any]:
    """Without what depends on the layer's control units, of which some are made of the broken."""
    # A sentence says how a unit compares with them, too.
    compared = ("percentile", "selectivity", "status", "meaning")
    return {name: value for name, value in row.items() if not name.endswith(compared)}


@pytest.mark.parametrize(
    "options",
    [
        {"contexts": {"tails": "both", "window": 32}},
        {"senses": {"enabled": False}},
        {"contexts": {"sampled": 0, "window": 32}},
    ],
)
def test_two_broken_neurons_have_a_status_and_change_no_other(
    options: dict[str, Any], tmp_path: Path
) -> None:
    broken = analyse(load_broken(tmp_path / "a", LAST), tmp_path / "x", **options)
    whole = analyse(load_changed(tmp_path / "b", lambda w: None), tmp_path / "y", **options)

    found, expected = read_rows(broken), read_rows(whole)

    lost = [(LAST, 5), (LAST, 7)]
    assert [at for at, row in found.items() if row["status"] == "not_finite"] == lost
    assert {at: without_comparison(row) for at, row in found.items() if at not in lost} == {
        at: without_comparison(row) for at, row in expected.items() if at not in lost
    }
    for at in lost:
        row = found[at]
        for name in ("density", "mean", "std", "skewness", "kurtosis", "min", "max"):
            assert row[name] is None
        assert row["n_tokens"] == expected[at]["n_tokens"]
        assert (row["top_contexts"], row["distinct_contexts"], row["peak_token"]) == (0, 0, None)
        both = options.get("contexts", {}).get("tails") == "both"
        senses = options.get("senses", {}).get("enabled", True)
        assert row["negative_status"] == ("not_finite" if both and senses else None)


def test_reports_of_broken_neurons_are_empty_and_those_of_others_the_same(tmp_path: Path) -> None:
    broken = analyse(load_broken(tmp_path / "a", LAST), tmp_path / "x")
    whole = analyse(load_changed(tmp_path / "b", lambda w: None), tmp_path / "y")

    found, expected = (pq.read_table(f / report_file(LAST)) for f in (broken, whole))

    assert found.schema.equals(REPORTS)
    others = [n for n in range(NEURONS) if n not in (5, 7)]
    theirs, wanted = (table.take(others).to_pylist() for table in (found, expected))
    assert list(map(without_comparison, theirs)) == list(map(without_comparison, wanted))
    for row in found.take([5, 7]).to_pylist():
        for name in ("quantiles", "histogram", "bands", "peak_tokens", "contexts", "senses"):
            assert row[name] == []
        assert len(row["promoted"]) == 10  # what it writes is known all the same


def test_the_summary_counts_them_and_names_them_with_the_reason(tmp_path: Path) -> None:
    folder = analyse(load_broken(tmp_path / "a", LAST), tmp_path / "x")

    summary = json.loads((folder / "summary.json").read_text())

    assert summary["statuses"]["not_finite"] == 2
    assert summary["layers"][LAST]["statuses"]["not_finite"] == 2
    first, why = summary["warnings"]
    assert first.startswith(f"layer {LAST}, neurons 5,7: their activations are not finite")
    assert f"layers.{LAST}.mlp.up_proj.weight" in why
    assert "no dtype helps" in why
    assert "float32" not in why


def test_a_result_without_such_neurons_has_no_warnings(tmp_path: Path) -> None:
    folder = analyse(load_changed(tmp_path / "a", lambda w: None), tmp_path / "x")

    assert json.loads((folder / "summary.json").read_text())["warnings"] == []


def test_a_neuron_that_poisons_the_layers_behind_it_is_named(tmp_path: Path) -> None:
    model = load_broken(tmp_path / "a", 1)

    with pytest.raises(NonFiniteActivation) as raised:
        analyse(model, tmp_path / "x")

    assert "it begins in layer 1, neurons 5,7." in raised.value.message
    assert "From layer 2 on every neuron is lost by it" in raised.value.message
    assert "no dtype helps: layers.1.mlp.up_proj.weight." in raised.value.message


def test_the_layers_before_can_be_analysed_as_it_says(tmp_path: Path) -> None:
    model = load_broken(tmp_path / "a", 1)

    folder = analyse(model, tmp_path / "x", neurons={"layers": "0-1"})

    assert json.loads((folder / "summary.json").read_text())["statuses"]["not_finite"] == 2


def test_senses_of_what_is_poisoned_are_refused_by_name(tmp_path: Path) -> None:
    model = load_broken(tmp_path / "a", 0)

    with pytest.raises(NonFiniteActivation, match=r"in layer 0, neurons 5,7\. .*switched off"):
        analyse(model, tmp_path / "x", neurons={"layers": "0"})
    folder = analyse(model, tmp_path / "y", neurons={"layers": "0"}, senses={"enabled": False})

    assert read_rows(folder)[0, 5]["status"] == "not_finite"


@pytest.mark.parametrize(("dtype", "advised"), [("float32", False), ("bfloat16", True)])
def test_another_dtype_is_advised_only_where_it_may_help(
    dtype: str, advised: bool, tmp_path: Path
) -> None:
    def overflow(weights: Weights) -> None:
        for side in ("gate", "up"):
            weights[f"model.layers.1.mlp.{side}_proj.weight"][3] = 1e30

    with pytest.raises(NonFiniteActivation) as raised:
        analyse(load_changed(tmp_path / "a", overflow, dtype=dtype), tmp_path / "x")

    assert "begins in layer 1, neuron 3." in raised.value.message
    assert ("in float32 it may work" in raised.value.message) == advised


def test_broken_weights_outside_of_neurons_are_named(tmp_path: Path) -> None:
    def change(weights: Weights) -> None:
        weights["model.layers.1.self_attn.o_proj.weight"][0, 0] = torch.nan

    with pytest.raises(NonFiniteActivation, match=r"layer 1, all 48 neurons.*1\.self_attn\.o_proj"):
        analyse(load_changed(tmp_path / "a", change), tmp_path / "x")


def test_only_broken_neurons_give_a_result_too(tmp_path: Path) -> None:
    model = load_broken(tmp_path / "a", LAST)

    folder = analyse(model, tmp_path / "x", neurons={"layers": f"1,{LAST}", "indices": "5,7"})

    statuses = {at: row["status"] for at, row in read_rows(folder).items()}
    assert [at for at, status in statuses.items() if status == "not_finite"] == [(2, 5), (2, 7)]


def test_an_output_weight_that_is_not_finite_leaves_no_logits(tmp_path: Path) -> None:
    def change(weights: Weights) -> None:
        weights[f"model.layers.{LAST}.mlp.down_proj.weight"][:, 9] = torch.nan

    folder = analyse(load_changed(tmp_path / "a", change), tmp_path / "x")

    rows = pq.read_table(folder / report_file(LAST)).to_pylist()
    assert [row["neuron"] for row in rows if row["promoted"] is None] == [9]
    assert read_rows(folder)[LAST, 9]["max"] is not None


@pytest.mark.parametrize(("neuron", "factor"), [(3, 1e7), (4, 1e14), (6, 1e-14)])
def test_a_neuron_of_another_size_has_the_shape_it_had(
    neuron: int, factor: float, tmp_path: Path
) -> None:
    def change(weights: Weights) -> None:
        for part in ("weight", "bias"):
            weights[f"model.layers.{LAST}.mlp.up_proj.{part}"][neuron] *= factor

    sized = analyse(load_changed(tmp_path / "a", change), tmp_path / "x")
    plain = analyse(load_changed(tmp_path / "b", lambda w: None), tmp_path / "y")

    found, expected = read_rows(sized)[LAST, neuron], read_rows(plain)[LAST, neuron]
    for name in ("mean", "std", "min", "max"):
        assert found[name] / factor == pytest.approx(expected[name], rel=1e-4)
    for name in ("skewness", "kurtosis", "density"):
        assert found[name] == pytest.approx(expected[name], rel=1e-4)
    marks = pq.read_table(sized / report_file(LAST)).to_pylist()[neuron]["quantiles"]
    assert found["min"] <= marks[0] <= marks[4] <= marks[-1] <= found["max"]
    assert np.isfinite(marks).all()
