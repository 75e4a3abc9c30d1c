"""Each site of each architecture: that what is read there fits what the model says of itself, and
the other sites. In float32, against sums and norms computed beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from polyseme.contract.errors import UnknownSite
from polyseme.workers.analysis.families.parts import find_empty_parts, matrix_rows
from polyseme.workers.analysis.models.capture import Tap, Taps, run_block
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.sites.table import SITES, describe_sites
from tests.tiny_models import HEADS, HIDDEN, LAYERS, TINY, load_tiny

# What stands behind the sum of residual stream and output, where norms do.
NORMS_AFTER = {
    "opt/350m": ("self_attn_layer_norm", "final_layer_norm"),
    "mpnet": ("attention.LayerNorm", "output.LayerNorm"),
    "distilbert": ("sa_layer_norm", "output_layer_norm"),
    **dict.fromkeys(
        (
            "bert",
            "bert/chunked",
            "roberta",
            "xlm-roberta",
            "electra",
            "deberta",
            "deberta-v2",
            "deberta-v2/v3",
        ),
        ("attention.output.LayerNorm", "output.LayerNorm"),
    ),
}
PARALLEL = {"gptj", "gpt_neox", "phi", "falcon"}


@pytest.fixture(params=TINY)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(name: str, tmp_path: Path) -> LoadedModel:
    model = load_tiny(name, tmp_path)
    with torch.no_grad():  # norms that do something
        for module in model.parts.body.modules():
            if "norm" in type(module).__name__.lower() and hasattr(module, "weight"):
                module.weight += 0.3 * torch.randn(module.weight.shape)
    return model


def read(model: LoadedModel, site: str) -> list[Tensor]:
    """(B, S, N) of each layer."""
    found: dict[int, Tensor] = {}
    ids, mask = inputs_of(model)
    points = SITES[site].points(model.parts, range(LAYERS))
    run_block(model, ids, mask, points, lambda layer, x: found.update({layer: x.clone()}))
    return [found[layer] for layer in range(LAYERS)]


def inputs_of(model: LoadedModel) -> tuple[Tensor, Tensor | None]:
    ids = torch.randint(5, 300, (2, 12), generator=torch.Generator().manual_seed(7))
    return ids, torch.ones_like(ids) if model.card.kind == "encoder" else None


def close(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() < 1e-5 * expected.abs().max())


def apply(model: LoadedModel, layer: int, path: str, values: Tensor) -> Tensor:
    module: nn.Module = model.parts.blocks[layer].get_submodule(path)
    with torch.inference_mode():
        out: Tensor = module(values)
    return out


def test_a_blocks_input_is_the_models_own_hidden_state(model: LoadedModel, name: str) -> None:
    ids, mask = inputs_of(model)
    with torch.inference_mode():
        states: Any = model.parts.body(
            input_ids=ids, attention_mask=mask, output_hidden_states=True
        ).hidden_states

    found = read(model, "resid_pre")

    # The last of them has passed the last norm.
    for layer in range(LAYERS):
        assert close(found[layer], states[layer])


def test_a_blocks_output_is_the_next_ones_input(model: LoadedModel, name: str) -> None:
    before, after = read(model, "resid_pre"), read(model, "resid_post")

    for layer in range(LAYERS - 1):
        # A convolution stands behind the first layer of DeBERTa version 3.
        is_same = not (name == "deberta-v2/v3" and layer == 0)
        assert torch.equal(after[layer], before[layer + 1]) == is_same


def test_the_outputs_add_up_to_the_residual_stream(model: LoadedModel, name: str) -> None:
    before, after = read(model, "resid_pre"), read(model, "resid_post")
    attention, mlp, entered = read(model, "attn_out"), read(model, "mlp_out"), read(model, "mlp_in")

    for layer in range(LAYERS):
        if name in NORMS_AFTER:
            first, second = NORMS_AFTER[name]
            assert close(
                entered[layer], apply(model, layer, first, before[layer] + attention[layer])
            )
            assert close(after[layer], apply(model, layer, second, entered[layer] + mlp[layer]))
        else:
            assert close(after[layer], before[layer] + attention[layer] + mlp[layer])


def test_the_middle_is_the_input_and_what_attention_adds(model: LoadedModel, name: str) -> None:
    card = next(site for site in model.card.sites if site.site == "resid_mid")
    if card.why_not:
        assert ("parallel" in card.why_not) == (name in PARALLEL)
        assert ("behind the sums" in card.why_not) == (name in NORMS_AFTER)
        with pytest.raises(UnknownSite, match=card.why_not):
            model.card.site("resid_mid")
        return
    before, middle = read(model, "resid_pre"), read(model, "resid_mid")
    attention = read(model, "attn_out")

    for layer in range(LAYERS):
        assert close(middle[layer], before[layer] + attention[layer])


def test_heads_side_by_side_make_what_attention_adds(model: LoadedModel, name: str) -> None:
    if name == "qwen3_5_text":
        with pytest.raises(UnknownSite, match="linear attention"):
            model.card.site("z")
        return
    heads, attention = read(model, "z"), read(model, "attn_out")

    assert model.card.site("z").head_size == HIDDEN // HEADS
    for layer in range(LAYERS):
        module = model.parts.attentions[layer]
        with torch.inference_mode():
            mixed = heads[layer] @ matrix_rows(module).T
            mixed = mixed if module.bias is None else mixed + module.bias
            mixed = mixed * model.parts.residual_factor
            if norm := model.parts.attention_norms[layer]:
                mixed = norm(mixed)
        assert close(attention[layer], mixed)


def test_neurons_make_what_the_mlp_gives_and_its_norm_what_it_adds(
    model: LoadedModel, name: str
) -> None:
    neurons, raw, joined = (read(model, site) for site in ("mlp", "mlp_out_raw", "mlp_out"))

    for layer in range(LAYERS):
        module = model.parts.projections[layer]
        with torch.inference_mode():
            mixed = neurons[layer] @ matrix_rows(module).T
            mixed = mixed if module.bias is None else mixed + module.bias
            norm = model.parts.post_norms[layer]
            added = raw[layer] * model.parts.residual_factor if norm is None else norm(raw[layer])
        assert close(raw[layer], mixed)
        assert torch.equal(joined[layer], added)


@pytest.mark.parametrize("site", [name for name in SITES if name != "mlp"])
def test_control_units_are_directions_of_length_one_read_where_the_site_is(
    site: str, tmp_path: Path
) -> None:
    model = load_tiny("gemma2", tmp_path)
    row = SITES[site]
    assert row.controls is not None

    made = row.controls.make(model.parts, 1, 70)
    (values,) = (read(model, site)[1],)
    activations = made(values)

    basis = made(torch.eye(values.shape[-1]))  # (N, G)
    torch.testing.assert_close(basis.norm(dim=0), torch.ones(70))
    assert len(torch.unique(basis, dim=1).T) == 70
    torch.testing.assert_close(activations, values @ basis)
    assert row.control_points(model.parts, [1])[1].module is row.point(model.parts, 1).module


def test_a_control_unit_of_heads_reads_one_of_them(tmp_path: Path) -> None:
    model = load_tiny("llama", tmp_path)
    recipe = SITES["z"].controls
    assert recipe is not None

    basis = recipe.make(model.parts, 0, 64)(torch.eye(HIDDEN))

    read_heads = (basis.T.reshape(64, HEADS, -1) != 0).any(2)
    assert (read_heads.sum(1) == 1).all()
    assert read_heads.any(0).all()


@pytest.mark.parametrize("name", TINY)
def test_every_family_has_every_site_or_says_why_not(name: str) -> None:
    cards = describe_sites(find_empty_parts(TINY[name].config()))

    assert [card.site for card in cards] == list(SITES)
    for card in cards:
        assert (card.units > 0) == (card.why_not is None)
        assert card.hook.startswith("blocks.{layer}.")


def test_the_residual_stream_of_a_layer_comes_before_the_units_of_any_site(
    model: LoadedModel,
) -> None:
    ids, mask = inputs_of(model)
    entering = read(model, "resid_pre")
    for card in model.card.sites:
        if card.why_not:
            continue
        site, layers = SITES[card.site], (0, 2)
        streams: dict[int, Tensor] = {}
        seen: list[tuple[int, bool]] = []

        def note(layer: int, x: Tensor, streams: dict[int, Tensor] = streams) -> None:
            streams[layer] = x.clone()

        def receive(
            layer: int,
            x: Tensor,
            streams: dict[int, Tensor] = streams,
            seen: list[tuple[int, bool]] = seen,
        ) -> None:
            seen.append((layer, layer in streams))

        tap = Tap(site.stream_points(model.parts, layers), note)
        run_block(model, ids, mask, site.points(model.parts, layers), receive, Taps(streams=tap))

        assert seen == [(0, True), (2, True)]
        wanted = read(model, "resid_post") if card.site == "resid_post" else entering
        assert all(torch.equal(streams[layer], wanted[layer]) for layer in layers)
