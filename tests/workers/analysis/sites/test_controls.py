"""Control units of MLP neurons: made of a layer's own, computed as the model computes its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from polyseme.workers.analysis.models.capture import run_block
from polyseme.workers.analysis.models.load import LoadedModel, load_model
from polyseme.workers.analysis.sites import mlp
from polyseme.workers.analysis.sites.controls import count_controls, draw_units
from polyseme.workers.analysis.sites.mlp import Rows
from tests.tiny_models import HIDDEN, LAYERS, TINY, load_tiny, save_model, spoil_neurons
from tests.workers.analysis.builders import points_of, tap_inputs


def run(model: LoadedModel) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Each layer's MLP input and activations."""
    inputs: dict[int, Tensor] = {}
    found: dict[int, Tensor] = {}
    ids = torch.randint(5, 300, (2, 12), generator=torch.Generator().manual_seed(7))
    run_block(
        model,
        ids,
        torch.ones_like(ids) if model.card.kind == "encoder" else None,
        points_of(model, range(LAYERS)),
        lambda layer, x: found.update({layer: x.clone()}),
        tap_inputs(model, lambda layer, x: inputs.update({layer: x.clone()})),
    )
    return inputs, found


@pytest.mark.parametrize("name", TINY)
def test_real_units_computed_like_control_units_are_what_the_model_computes(
    name: str, tmp_path: Path
) -> None:
    model = load_tiny(name, tmp_path)

    inputs, found = run(model)

    for layer in range(LAYERS):
        with torch.inference_mode():
            computed = Rows.of_layer(model.parts, layer)(inputs[layer])
        assert computed.dtype == found[layer].dtype
        assert (computed - found[layer]).abs().max() < 1e-5 * found[layer].abs().max()


@pytest.mark.parametrize("name", ["llama", "gpt2", "bloom", "modernbert", "t5/v1.1"])
def test_units_in_bfloat16_are_those_of_the_model(name: str, tmp_path: Path) -> None:
    entry = save_model(name, tmp_path)
    model = load_model(entry, device="cpu", dtype="bfloat16", cache=tmp_path)

    inputs, found = run(model)

    with torch.inference_mode():
        computed = Rows.of_layer(model.parts, 1)(inputs[1])
    error = (computed.float() - found[1].float()).abs().max()
    assert error <= 0.01 * found[1].float().abs().max()


@pytest.mark.parametrize("name", TINY)
def test_a_control_unit_has_the_numbers_of_a_unit_in_another_order(
    name: str, tmp_path: Path
) -> None:
    parts = load_tiny(name, tmp_path).parts
    recipe, rows = mlp.SITE.controls, Rows.of_layer(parts, 1)
    assert recipe is not None

    made = recipe.make(parts, 1, 64)

    assert isinstance(made, Rows)
    units = draw_units(1, np.ones(TINY[name].neurons, bool), 64)
    for side, weight in enumerate(rows.weights):
        drawn = weight[torch.from_numpy(units)]
        assert torch.equal(made.weights[side].sort(1).values, drawn.sort(1).values)
        assert not (made.weights[side] == drawn).all(1).any()
        bias, own = rows.biases[side], made.biases[side]
        assert (bias is None) == (own is None)
        if bias is not None and own is not None:
            assert torch.equal(own, bias[torch.from_numpy(units)])
    with torch.inference_mode():
        assert made(torch.randn(2, 3, HIDDEN)).shape == (2, 3, 64)


def test_the_rows_of_a_gated_unit_are_ordered_apart(tmp_path: Path) -> None:
    parts = load_tiny("llama", tmp_path).parts
    assert mlp.SITE.controls is not None
    first = mlp.SITE.controls.make(parts, 0, 8)
    again, other = (mlp.SITE.controls.make(parts, layer, 8) for layer in (0, 1))
    x = torch.randn(1, 4, HIDDEN)

    with torch.inference_mode():
        assert torch.equal(first(x), again(x))
        assert not torch.allclose(first(x), other(x))
    assert isinstance(first, Rows)
    gate, up = (w.argsort(1) for w in first.weights)
    assert not torch.equal(gate, up)


def test_the_first_control_units_do_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    parts = load_tiny("gpt2", tmp_path).parts
    assert mlp.SITE.controls is not None
    few, many = (mlp.SITE.controls.make(parts, 2, count) for count in (8, 100))
    x = torch.randn(1, 4, HIDDEN)

    with torch.inference_mode():
        assert torch.allclose(few(x), many(x)[..., :8], rtol=1e-5, atol=1e-6)


def test_units_are_drawn_once_each_until_there_are_no_more() -> None:
    drawn = draw_units(3, np.ones(48, bool), 100)

    assert sorted(drawn[:48]) == sorted(drawn[48:96]) == list(range(48))
    assert list(drawn[96:]) == list(drawn[:4])
    assert list(draw_units(3, np.ones(48, bool), 10)) == list(drawn[:10])


def test_a_unit_of_no_use_is_replaced_and_no_other() -> None:
    usable, all_usable = np.ones(48, bool), np.ones(48, bool)
    before = draw_units(3, all_usable, 20)
    usable[before[[3, 7]]] = False

    drawn = draw_units(3, usable, 20)

    assert usable[drawn].all()
    assert len(set(drawn)) == 20
    assert np.flatnonzero(drawn != before).tolist() == [3, 7]
    assert sorted(draw_units(3, usable, 46)) == np.flatnonzero(usable).tolist()


def test_a_unit_whose_weights_are_not_finite_is_not_drawn(tmp_path: Path) -> None:
    entry = save_model("llama", tmp_path)
    spoil_neurons(tmp_path, 1, [5, 6])
    parts = load_model(entry, device="cpu", dtype="float32", cache=tmp_path / "cache").parts
    assert mlp.SITE.controls is not None

    made = mlp.SITE.controls.make(parts, 1, 200)

    with torch.inference_mode():
        assert made(torch.randn(2, 3, HIDDEN)).isfinite().all()


@pytest.mark.parametrize(("layers", "count"), [(1, 512), (3, 171), (8, 64), (9, 64), (80, 64)])
def test_a_layer_has_64_control_units_and_a_model_512(layers: int, count: int) -> None:
    assert count_controls(layers) == count
