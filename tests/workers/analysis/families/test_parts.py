from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from transformers import AutoConfig

from polyseme.contract.errors import UnsupportedArchitecture
from polyseme.workers.analysis.families.architectures import (
    FAMILIES,
    WRAPPERS,
    count_neurons,
    count_positions,
    look_up,
)
from polyseme.workers.analysis.families.parts import build_empty, find_family, find_parts
from tests import structure
from tests.tiny_models import HIDDEN, LAYERS, NEURONS, POSITIONS, TINY


def test_every_family_of_the_table_has_a_tiny_model() -> None:
    assert {tiny.model_type for tiny in TINY.values()} == set(FAMILIES)


def test_every_family_is_listed_for_those_who_bring_a_model() -> None:
    page = (structure.ROOT / "docs/own-model.md").read_text(encoding="utf-8")

    assert [name for name in (*FAMILIES, *WRAPPERS) if f"`{name}`" not in page] == []


@pytest.mark.parametrize("name", TINY)
def test_a_config_finds_its_family_and_its_sizes(name: str) -> None:
    tiny = TINY[name]
    config = tiny.config()

    family = find_family(config)
    parts = find_parts(family, build_empty(config, family))

    assert family.model_type == tiny.model_type
    assert (len(parts.projections), count_neurons(config, family)) == (LAYERS, tiny.neurons)
    assert family.gated == (len(tiny.expansion) == 2 or name in ("phi3", "modernbert"))
    assert (parts.unembedding is None) == (family.kind == "encoder")


@pytest.mark.parametrize(
    ("name", "expected"), [("gpt2", POSITIONS), ("roberta", POSITIONS), ("bloom", None)]
)
def test_the_positions_are_those_left_for_tokens(name: str, expected: int | None) -> None:
    config = TINY[name].config()

    assert count_positions(config, find_family(config)) == expected


def test_a_width_left_open_is_four_times_the_hidden_size() -> None:
    config = TINY["gpt2"].config(n_inner=None)

    assert count_neurons(config, find_family(config)) == 4 * HIDDEN


def test_an_unknown_architecture_is_named_with_those_that_are_known() -> None:
    config = AutoConfig.for_model("mamba", hidden_size=HIDDEN, num_hidden_layers=2, state_size=4)

    with pytest.raises(
        UnsupportedArchitecture,
        match="mamba: not a supported architecture; these are: llama, mistral",
    ):
        find_family(config)


def test_a_mixture_of_experts_is_refused() -> None:
    config = AutoConfig.for_model(
        "mixtral", hidden_size=HIDDEN, num_hidden_layers=2, num_local_experts=4
    )

    with pytest.raises(UnsupportedArchitecture, match="mixtral: mixture-of-experts"):
        find_family(config)


def test_a_model_with_code_of_its_own_is_refused_unless_known() -> None:
    auto_map = {"AutoConfig": "configuration_foo.FooConfig"}

    with pytest.raises(
        UnsupportedArchitecture, match="foo: it needs code that comes with the model"
    ):
        look_up({"model_type": "foo", "auto_map": auto_map})
    assert look_up({"model_type": "phi3", "auto_map": auto_map}).model_type == "phi3"


@pytest.mark.parametrize(
    ("name", "setting", "reason"),
    [
        ("bert", {"is_decoder": True}, "an encoder set up as a decoder"),
        ("gpt2", {"add_cross_attention": True}, "cross-attention"),
        ("gemma3_text", {"use_bidirectional_attention": True}, "bidirectional"),
        ("llama", {"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantised"),
        ("bloom", {"slow_but_exact": True}, "slow_but_exact"),
        ("falcon", {"alibi": True}, "alibi"),
    ],
)
def test_a_variant_that_the_table_does_not_describe_is_refused(
    name: str, setting: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UnsupportedArchitecture, match=reason):
        find_family(TINY[name].config(**setting))


def test_a_projection_of_another_shape_is_refused() -> None:
    config = TINY["llama"].config()
    model: Any = build_empty(config, FAMILIES["llama"])
    model.config.intermediate_size = NEURONS + 1

    with pytest.raises(
        UnsupportedArchitecture,
        match=r"layer 0 is a Linear of \(in, out\) \(48, 32\); expected .*49",
    ):
        find_parts(FAMILIES["llama"], model)


def test_another_number_of_layers_is_refused() -> None:
    model: Any = build_empty(TINY["llama"].config(), FAMILIES["llama"])
    model.config.num_hidden_layers = LAYERS + 1

    with pytest.raises(UnsupportedArchitecture, match="layers has 3 layers, its config 4"):
        find_parts(FAMILIES["llama"], model)


def test_a_module_that_is_not_there_is_refused() -> None:
    model = build_empty(TINY["llama"].config(), FAMILIES["llama"])

    with pytest.raises(UnsupportedArchitecture, match=r"has no mlp\.c_proj"):
        find_parts(replace(FAMILIES["llama"], projection="mlp.c_proj"), model)


def test_a_module_that_is_no_matrix_is_refused() -> None:
    model = build_empty(TINY["llama"].config(), FAMILIES["llama"])

    with pytest.raises(UnsupportedArchitecture, match="expected a Linear or Conv1D"):
        find_parts(replace(FAMILIES["llama"], projection="mlp.act_fn"), model)


@pytest.mark.parametrize("name", TINY)
def test_the_input_projections_of_every_layer_are_found(name: str) -> None:
    tiny = TINY[name]
    config = tiny.config()
    family = find_family(config)

    parts = find_parts(family, build_empty(config, family))

    assert family.inputs == tiny.expansion
    assert len(parts.inputs) == len(parts.blocks) == LAYERS
    for block, inputs in zip(parts.blocks, parts.inputs, strict=True):
        assert list(inputs) == [block.get_submodule(path) for path in tiny.expansion]


def test_input_projections_that_do_not_make_all_neurons_are_refused() -> None:
    model = build_empty(TINY["llama"].config(), FAMILIES["llama"])

    with pytest.raises(
        UnsupportedArchitecture, match=r"mlp\.gate_proj of layer 0 .*expected 96 rows over 32"
    ):
        find_parts(replace(FAMILIES["llama"], inputs=("mlp.gate_proj",)), model)


def test_an_input_projection_that_is_no_matrix_is_refused() -> None:
    model = build_empty(TINY["gpt2"].config(), FAMILIES["gpt2"])

    with pytest.raises(UnsupportedArchitecture, match=r"mlp\.act of layer 0 .*None"):
        find_parts(replace(FAMILIES["gpt2"], inputs=("mlp.act",)), model)


def test_an_encoder_of_an_encoder_decoder_is_taken_and_such_a_model_as_a_whole_is_not() -> None:
    assert find_family(TINY["t5"].config(is_encoder_decoder=True)).encoder_part
    with pytest.raises(UnsupportedArchitecture, match="encoder-decoder"):
        find_family(TINY["bert"].config(is_encoder_decoder=True))


def test_gates_are_those_that_the_config_says() -> None:
    plain, gated = (find_family(TINY[name].config()) for name in ("t5", "t5/v1.1"))

    assert (plain.gated, gated.gated) == (False, True)
    assert [path.rpartition(".")[2] for path in gated.inputs] == ["wi_0", "wi_1"]
