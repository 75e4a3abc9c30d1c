"""Models of text and more are loaded as the text model inside them, or refused by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from polyseme.contract.errors import UnsupportedArchitecture
from polyseme.contract.records.catalogue import Entry
from polyseme.workers.analysis.families.architectures import look_up
from polyseme.workers.analysis.families.wrappers import find_text_config
from polyseme.workers.analysis.models.capture import run_block
from polyseme.workers.analysis.models.load import LoadedModel, load_model
from tests.tiny_models import LAYERS, TINY, plain_tokenizer
from tests.workers.analysis.builders import points_of

_EYES = {"hidden_size": 16, "intermediate_size": 16, "patch_size": 4}
_TOWER = _EYES | {"num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8}
WRAPPED: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "gemma3": ("gemma3", "gemma3_text", _TOWER, {"mm_tokens_per_image": 4}),
    "mistral3": ("mistral3", "ministral3", _TOWER | {"model_type": "pixtral", "head_dim": 8}, {}),
    "mistral3/mistral": (
        "mistral3",
        "mistral",
        _TOWER | {"model_type": "pixtral", "head_dim": 8},
        {"tie_word_embeddings": False},
    ),
    "qwen3_5": (
        "qwen3_5",
        "qwen3_5_text",
        _EYES | {"depth": 1, "num_heads": 2, "out_hidden_size": 32, "num_position_embeddings": 16},
        {},
    ),
}


def build_wrapper(name: str) -> Any:
    """With random numbers in every parameter."""
    model_type, text, vision, more = WRAPPED[name]
    config = AutoConfig.for_model(
        model_type, text_config=TINY[text].config().to_dict(), vision_config=vision, **more
    )
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.3)
    return model.eval()


def load_saved(model: Any, folder: Path) -> LoadedModel:
    model.save_pretrained(str(folder))
    plain_tokenizer().save_pretrained(str(folder))
    entry = Entry("wrapped", "path", str(folder))
    return load_model(entry, device="cpu", dtype="float32", cache=folder)


@pytest.mark.parametrize("name", WRAPPED)
def test_the_activations_are_those_inside_the_whole_model(name: str, tmp_path: Path) -> None:
    whole = build_wrapper(name)
    ids = torch.randint(5, 300, (2, 12), generator=torch.Generator().manual_seed(7))
    expected: dict[int, torch.Tensor] = {}
    for layer, block in enumerate(whole.model.language_model.layers):
        block.mlp.down_proj.register_forward_pre_hook(
            lambda _m, args, layer=layer: expected.update({layer: args[0].clone()})
        )
    with torch.inference_mode():
        whole(input_ids=ids)
    found: dict[int, torch.Tensor] = {}

    model = load_saved(whole, tmp_path)
    points = points_of(model, range(LAYERS))
    run_block(model, ids, None, points, lambda layer, x: found.update({layer: x.clone()}))

    assert model.card.family == WRAPPED[name][1]
    assert not [n for n, _ in model.parts.body.named_modules() if "vision" in n]
    assert list(found) == list(expected) == [0, 1, 2]
    for layer, values in expected.items():
        assert (found[layer] - values).abs().max() < 1e-5 * values.abs().max()
    head = whole.get_output_embeddings().weight
    assert model.parts.unembedding is not None
    assert torch.equal(model.parts.unembedding, head)


def test_a_wrapper_whose_config_does_not_say_what_is_inside_has_the_usual_text_model() -> None:
    assert look_up({"model_type": "gemma3", "text_config": {}}).model_type == "gemma3_text"
    assert look_up({"model_type": "mistral3"}).model_type == "mistral"


def test_another_wrapper_is_refused_with_the_text_model_that_it_contains() -> None:
    config = {"model_type": "llava", "text_config": {"model_type": "llama"}}

    with pytest.raises(UnsupportedArchitecture, match=r"llava: .*the llama inside it is"):
        look_up(config)


def test_a_wrapper_of_experts_is_refused() -> None:
    config = {"model_type": "mistral3", "text_config": {"num_local_experts": 8}}

    with pytest.raises(UnsupportedArchitecture, match="mixture-of-experts"):
        look_up(config)


def test_a_quantised_wrapper_has_a_quantised_text_model() -> None:
    config = build_wrapper("mistral3").config
    config.quantization_config = {"quant_method": "fp8"}

    assert find_text_config(config).quantization_config == {"quant_method": "fp8"}
