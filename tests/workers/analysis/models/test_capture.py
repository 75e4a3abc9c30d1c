from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForTextEncoding
from transformers.pytorch_utils import Conv1D

from polyseme.contract.errors import UnsupportedArchitecture
from polyseme.workers.analysis.models.capture import Taps, reference_layers, run_block
from polyseme.workers.analysis.models.load import LoadedModel, load_model
from polyseme.workers.analysis.sites.point import Point
from tests.tiny_models import HIDDEN, LAYERS, TINY, load_tiny, save_model
from tests.workers.analysis.builders import points_of, tap_inputs

Array = NDArray[np.float64]

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
}


def find(module: nn.Module, path: str) -> Any:
    return module.get_submodule(path)


def by_hand(model: LoadedModel, name: str, layer: int, mlp_input: Array) -> Array:
    """The neurons of a layer in float64, from its weights and what goes into its MLP. mlp_input:
    (B, S, hidden).
    """
    tiny = TINY[name]
    parts = [
        _apply(find(model.parts.body, f"{model.parts.family.layers}.{layer}.{path}"), mlp_input)
        for path in tiny.expansion
    ]
    if name in ("phi3", "modernbert"):
        parts = list(np.split(parts[0], 2, axis=-1))
    activated = ACTIVATIONS[tiny.activation](parts[0])
    return activated * parts[1] if model.parts.family.gated else activated


def _apply(module: Any, x: Array) -> Array:
    weight = module.weight.double().numpy()
    bias = 0 if module.bias is None else module.bias.double().numpy()
    return x @ (weight if isinstance(module, Conv1D) else weight.T) + bias


def capture(
    model: LoadedModel, ids: Tensor, mask: Tensor | None, layers: list[int]
) -> dict[int, Tensor]:
    found: dict[int, Tensor] = {}
    run_block(
        model,
        ids,
        mask,
        points_of(model, layers),
        lambda layer, x: found.update({layer: x.clone()}),
    )
    return found


def random_ids(batch: int, length: int) -> Tensor:
    return torch.randint(5, 300, (batch, length), generator=torch.Generator().manual_seed(7))


def mask_for(model: LoadedModel, ids: Tensor) -> Tensor | None:
    return torch.ones_like(ids) if model.card.kind == "encoder" else None


@pytest.mark.parametrize("name", TINY)
def test_captured_activations_equal_those_computed_by_hand_from_the_weights(
    name: str, tmp_path: Path
) -> None:
    model = load_tiny(name, tmp_path)
    ids = random_ids(2, 12)
    inputs: dict[int, Tensor] = {}
    for layer in range(LAYERS):
        expansion = find(
            model.parts.body, f"{model.parts.family.layers}.{layer}.{TINY[name].expansion[0]}"
        )
        expansion.register_forward_pre_hook(
            lambda _m, args, layer=layer: inputs.update({layer: args[0].clone()})
        )

    found = capture(model, ids, mask_for(model, ids), [0, 1, 2])

    for layer in range(LAYERS):
        expected = by_hand(model, name, layer, inputs[layer].double().reshape(2, 12, -1).numpy())
        assert found[layer].shape == (2, 12, TINY[name].neurons)
        assert (
            np.abs(found[layer].double().numpy() - expected).max() < 1e-5 * np.abs(expected).max()
        )


@pytest.mark.parametrize("name", TINY)
def test_the_hidden_states_are_those_of_the_eager_attention(name: str, tmp_path: Path) -> None:
    model = load_tiny(name, tmp_path)
    ids = random_ids(2, 12)
    auto = AutoModelForTextEncoding if model.parts.family.encoder_part else AutoModel
    plain = auto.from_pretrained(tmp_path, attn_implementation="eager", dtype=torch.float32).eval()

    with torch.inference_mode():
        ours = model.parts.body(
            input_ids=ids, attention_mask=mask_for(model, ids)
        ).last_hidden_state
        theirs = plain(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state

    assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()


@pytest.mark.parametrize("name", TINY)
def test_padding_on_the_right_does_not_change_a_real_token(name: str, tmp_path: Path) -> None:
    model = load_tiny(name, tmp_path)
    ids, lengths = random_ids(3, 12), (12, 5, 1)
    mask = torch.tensor([[1] * n + [0] * (12 - n) for n in lengths])
    ids = ids.where(mask == 1, torch.tensor(int(model.parts.body.config.pad_token_id or 0)))

    together = capture(model, ids, mask if model.card.kind == "encoder" else None, [0, 1, 2])

    for row, length in enumerate(lengths):
        one = ids[row : row + 1, :length]
        alone = capture(model, one, mask_for(model, one), [0, 1, 2])
        for layer in range(LAYERS):
            error = (together[layer][row, :length] - alone[layer][0]).abs().max()
            assert error < 1e-5 * alone[layer].abs().max()


def count_calls(module: nn.Module) -> list[str]:
    calls: list[str] = []
    for name, child in module.named_modules():
        if name:
            child.register_forward_hook(lambda _m, _in, _out, name=name: calls.append(name))
    return calls


def test_nothing_behind_the_deepest_wanted_layer_is_run(tmp_path: Path) -> None:
    model = load_tiny("llama", tmp_path)
    calls = count_calls(model.parts.body)

    capture(model, random_ids(1, 4), None, [0])

    assert "layers.0.mlp.up_proj" in calls
    assert "layers.0.mlp.down_proj" not in calls
    assert not [c for c in calls if c.startswith(("layers.1", "layers.2", "norm"))]


def test_the_head_is_no_part_of_what_is_run(tmp_path: Path) -> None:
    model = load_tiny("gpt2", tmp_path)

    assert not [name for name, _ in model.parts.body.named_modules() if "head" in name]
    assert model.parts.unembedding is not None


def test_layers_arrive_once_each_and_ascending(tmp_path: Path) -> None:
    model = load_tiny("gpt_neox", tmp_path)
    order: list[int] = []

    run_block(
        model,
        random_ids(2, 4),
        None,
        points_of(model, [2, 0, 2]),
        lambda layer, _: order.append(layer),
    )

    assert order == [0, 2]


def test_no_layer_means_no_run(tmp_path: Path) -> None:
    model = load_tiny("gpt2", tmp_path)
    calls = count_calls(model.parts.body)

    run_block(model, random_ids(1, 4), None, {}, lambda layer, _: None)

    assert calls == []


def test_hooks_are_gone_after_the_receiver_raised(tmp_path: Path) -> None:
    model = load_tiny("gpt2", tmp_path)

    def refuse(_layer: int, _x: Tensor) -> None:
        raise KeyError("full")

    with pytest.raises(KeyError, match="full"):
        run_block(model, random_ids(1, 4), None, points_of(model, [0, 1]), refuse)

    assert not any(p._forward_pre_hooks for p in model.parts.projections)
    assert list(capture(model, random_ids(1, 4), None, [0, 1])) == [0, 1]


def test_a_layer_that_does_not_run_is_an_error_and_no_empty_result(tmp_path: Path) -> None:
    model = load_tiny("gpt2", tmp_path)
    find(model.parts.body, "h.1.mlp").forward = lambda x: x

    with pytest.raises(UnsupportedArchitecture, match=r"ran as \[0, 2\], not as \[0, 1, 2\]"):
        capture(model, random_ids(1, 4), None, [0, 1, 2])


def tap(
    model: LoadedModel, ids: Tensor, layers: list[int]
) -> tuple[list[Tensor], dict[int, Tensor], dict[int, Tensor]]:
    """What the reference layer takes in, once for each delivery, and by layer MLP inputs and
    activations.
    """
    residuals: list[Tensor] = []
    inputs: dict[int, Tensor] = {}
    found: dict[int, Tensor] = {}
    taps = tap_inputs(
        model,
        lambda layer, x: inputs.update({layer: x.clone()}),
        layers,
        residual=lambda _, x: residuals.append(x.clone()),
    )
    mask = mask_for(model, ids)
    run_block(
        model,
        ids,
        mask,
        points_of(model, layers),
        lambda layer, x: found.update({layer: x.clone()}),
        taps,
    )
    return residuals, inputs, found


def hooked_modules(model: LoadedModel) -> list[str]:
    return [name for name, module in model.parts.body.named_modules() if module._forward_pre_hooks]


@pytest.mark.parametrize(
    ("layers", "references"),
    [(1, (0,)), (2, (0, 1)), (3, (1,)), (6, (1, 2)), (12, (2, 4)), (30, (6, 10)), (32, (6, 11))],
)
def test_the_reference_layers_are_a_fifth_and_a_third_down(
    layers: int, references: tuple[int, ...]
) -> None:
    assert reference_layers(layers) == references


def test_every_reference_layer_is_tapped(tmp_path: Path) -> None:
    model = load_tiny("llama", tmp_path, num_hidden_layers=6)
    ids = random_ids(2, 5)
    states = model.parts.body(input_ids=ids, output_hidden_states=True).hidden_states

    residuals, _, _ = tap(model, ids, [0])

    assert all(torch.allclose(r, states[layer]) for r, layer in zip(residuals, (1, 2), strict=True))


@pytest.mark.parametrize("name", TINY)
def test_the_tapped_residual_is_what_transformers_gives_for_that_layer(
    name: str, tmp_path: Path
) -> None:
    model = load_tiny(name, tmp_path)
    ids = random_ids(2, 12)
    with torch.inference_mode():
        states = model.parts.body(
            input_ids=ids, attention_mask=mask_for(model, ids), output_hidden_states=True
        ).hidden_states

    residuals, _, _ = tap(model, ids, [0, 1, 2])

    [residual] = residuals
    assert len(states) == LAYERS + 1
    assert (
        residual - states[reference_layers(LAYERS)[0]]
    ).abs().max() <= 1e-6 * residual.abs().max()


@pytest.mark.parametrize("name", TINY)
def test_the_tapped_inputs_give_the_activations_by_hand(name: str, tmp_path: Path) -> None:
    model = load_tiny(name, tmp_path)

    _, inputs, found = tap(model, random_ids(2, 12), [0, 2])

    assert list(inputs) == [0, 2]
    for layer, x in inputs.items():
        expected = by_hand(model, name, layer, x.double().numpy())
        assert x.shape == (2, 12, HIDDEN)
        assert (
            np.abs(found[layer].double().numpy() - expected).max() < 1e-5 * np.abs(expected).max()
        )


@pytest.mark.parametrize("name", TINY)
def test_taps_change_no_activation_and_leave_no_hook(name: str, tmp_path: Path) -> None:
    model = load_tiny(name, tmp_path)
    ids = random_ids(2, 12)

    _, _, tapped = tap(model, ids, [0, 1, 2])
    plain = capture(model, ids, mask_for(model, ids), [0, 1, 2])

    assert all(torch.equal(tapped[layer], plain[layer]) for layer in range(LAYERS))
    assert hooked_modules(model) == []


def test_what_a_layer_takes_in_comes_before_its_activations(tmp_path: Path) -> None:
    model = load_tiny("llama", tmp_path)
    order: list[str] = []
    taps = tap_inputs(
        model,
        lambda layer, _: order.append(f"input {layer}"),
        residual=lambda layer, _: order.append(f"residual {layer}"),
    )

    run_block(
        model,
        random_ids(2, 4),
        None,
        points_of(model, [2, 0, 1]),
        lambda layer, _: order.append(f"layer {layer}"),
        taps,
    )

    assert order == ["input 0", "layer 0", "residual 1", "input 1", "layer 1", "input 2", "layer 2"]


@pytest.mark.parametrize("name", TINY)
def test_a_residual_behind_all_wanted_layers_is_run_to_and_no_further(
    name: str, tmp_path: Path
) -> None:
    model = load_tiny(name, tmp_path)
    ids = random_ids(2, 12)
    expected, _, _ = tap(model, ids, [2])
    calls = count_calls(model.parts.body)

    residuals, _, found = tap(model, ids, [0])

    assert list(found) == [0]
    assert [r.shape for r in residuals] == [(2, 12, HIDDEN)]
    assert torch.equal(residuals[0], expected[0])
    assert f"{model.parts.family.layers}.0" in calls
    assert not [
        c
        for c in calls
        if c.startswith((f"{model.parts.family.layers}.1", f"{model.parts.family.layers}.2"))
    ]


def test_a_tapped_residual_does_not_hold_up_the_layers_behind_it(tmp_path: Path) -> None:
    model = load_tiny("llama", tmp_path)
    calls = count_calls(model.parts.body)

    _, _, found = tap(model, random_ids(1, 4), [2])

    assert list(found) == [2]
    assert "layers.2.mlp.up_proj" in calls
    assert "layers.2.mlp.down_proj" not in calls


def test_inputs_are_handed_on_where_what_is_wanted_comes_before_them(tmp_path: Path) -> None:
    model = load_tiny("llama", tmp_path)
    points = {layer: Point(model.parts.blocks[layer], "input") for layer in (0, 1)}
    seen: list[int] = []

    run_block(
        model,
        random_ids(1, 4),
        None,
        points,
        lambda _layer, _x: None,
        tap_inputs(model, lambda layer, _x: seen.append(layer), [0, 1]),
    )

    assert seen == [0, 1]


@pytest.mark.parametrize("spoiled", ["residual", "controls"])
def test_hooks_are_gone_after_a_tap_raised(spoiled: str, tmp_path: Path) -> None:
    model = load_tiny("gpt2", tmp_path)

    def refuse(*_: Any) -> None:
        raise KeyError("full")

    with pytest.raises(KeyError, match="full"):
        run_block(
            model,
            random_ids(1, 4),
            None,
            points_of(model, [0, 1]),
            lambda _layer, _x: None,
            Taps(refuse) if spoiled == "residual" else tap_inputs(model, refuse, [0, 1]),
        )

    assert hooked_modules(model) == []


def test_a_reference_layer_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    model = load_tiny("gpt2", tmp_path)
    blocks = find(model.parts.body, "h")
    blocks[1] = blocks[0]

    with pytest.raises(UnsupportedArchitecture, match=r"tiny-gpt2: its layers \[1\] did not run"):
        tap(model, random_ids(1, 4), [2])


def test_bfloat16_weights_give_bfloat16_activations(tmp_path: Path) -> None:
    entry = save_model("llama", tmp_path)
    model = load_model(entry, device="cpu", dtype="bfloat16", cache=tmp_path)

    found = capture(model, random_ids(1, 4), None, [0])

    assert found[0].dtype == torch.bfloat16


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", TINY)
def test_a_gpu_gives_what_the_cpu_gives(name: str, tmp_path: Path) -> None:
    entry = save_model(name, tmp_path)
    cpu, gpu = (
        load_model(entry, device=d, dtype="float32", cache=tmp_path) for d in ("cpu", "cuda")
    )
    ids = random_ids(2, 12)

    expected = capture(cpu, ids, mask_for(cpu, ids), [0, 1, 2])
    found = capture(gpu, ids, mask_for(gpu, ids), [0, 1, 2])

    for layer in range(LAYERS):
        assert found[layer].is_cuda
        assert (found[layer].cpu() - expected[layer]).abs().max() < 1e-4 * expected[
            layer
        ].abs().max()
    assert cpu.weights_sha256 == gpu.weights_sha256
