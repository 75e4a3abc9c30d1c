from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers.pytorch_utils import Conv1D

from polyseme.workers.analysis.families.architectures import FAMILIES
from polyseme.workers.analysis.models.lens import Lens, logit_lens
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.sites import mlp
from tests.tiny_models import NEURONS, TINY, VOCABULARY, load_tiny

DECODERS = [
    n for n, t in TINY.items() if FAMILIES[t.model_type].kind == "decoder" and n != "opt/350m"
]


def lens_of(model: LoadedModel, layer: int, k: int = 10) -> Lens | None:
    return logit_lens(model.parts, mlp.SITE.directions(model.parts, layer), k)


def by_hand(model: LoadedModel, layer: int) -> NDArray[np.float64]:
    """(neurons, vocabulary) logits in float64, one neuron at a time, from the weights."""
    projection: Any = model.parts.projections[layer]
    weight = projection.weight.double().numpy()
    columns = weight if isinstance(projection, Conv1D) else weight.T
    final, after = (
        _norm_weight(model, model.parts.norm),
        _norm_weight(model, model.parts.post_norms[layer]),
    )
    assert model.parts.unembedding is not None
    unembedding = model.parts.unembedding.double().numpy()
    rows = []
    for column in columns:
        written = column * after
        centred = written - written.mean() if model.parts.family.norm_kind == "layer" else written
        rows.append(unembedding @ (centred * final))
    config = model.parts.body.config
    factor = getattr(config, "residual_multiplier", 1.0) / getattr(config, "logits_scaling", 1.0)
    return np.stack(rows) * factor


def _norm_weight(model: LoadedModel, norm: Any) -> Any:
    if norm is None or getattr(norm, "weight", None) is None:
        return 1.0
    of_one = any(name in model.parts.family.model_type for name in ("gemma", "qwen3_5"))
    return norm.weight.double().numpy() + (1.0 if of_one else 0.0)


@pytest.mark.parametrize("name", DECODERS)
def test_the_lens_equals_a_float64_reference(name: str, tmp_path: Path) -> None:
    model = load_tiny(name, tmp_path)
    expected = by_hand(model, 1)

    lens = lens_of(model, 1, 10)

    assert lens is not None
    ordered = np.sort(expected, axis=1)
    scale = np.abs(expected).max()
    assert lens.promoted_logits.shape == (TINY[name].neurons, 10)
    assert np.abs(lens.promoted_logits - ordered[:, ::-1][:, :10]).max() < 1e-5 * scale
    assert np.abs(lens.suppressed_logits - ordered[:, :10]).max() < 1e-5 * scale
    for tokens, logits in (
        (lens.promoted_tokens, lens.promoted_logits),
        (lens.suppressed_tokens, lens.suppressed_logits),
    ):
        assert (
            np.abs(np.take_along_axis(expected, tokens.astype(np.int64), 1) - logits).max()
            < 1e-5 * scale
        )


@pytest.mark.parametrize("name", ["llama", "gpt2", "granite", "qwen3_5_text"])
def test_adding_to_a_neuron_moves_the_logits_the_way_the_lens_says(
    name: str, tmp_path: Path
) -> None:
    # A last layer without attention behind it: a large push along a neuron's column makes the model
    # itself name the promoted token, whatever else is in the residual stream.
    model = load_tiny(name, tmp_path)
    lens = lens_of(model, 2, 1)
    assert lens is not None
    assert model.parts.unembedding is not None

    for neuron in range(0, NEURONS, 8):
        push = torch.zeros(1, 1, NEURONS)
        push[..., neuron] = 1e6
        hook = model.parts.projections[2].register_forward_pre_hook(
            lambda _m, args, push=push: (args[0] + push,)
        )
        with torch.inference_mode():
            hidden = model.parts.body(input_ids=torch.tensor([[5]])).last_hidden_state
        hook.remove()
        bias = getattr(model.parts.norm, "bias", None)
        logits = (hidden - (0 if bias is None else bias)) @ model.parts.unembedding.T
        assert int(logits.argmax()) == lens.promoted_tokens[neuron, 0]


@pytest.mark.parametrize("k", [1, 2, 10])
def test_equal_logits_go_by_token_id(k: int, tmp_path: Path) -> None:
    model = load_tiny("llama", tmp_path)
    assert model.parts.unembedding is not None
    with torch.no_grad():
        model.parts.unembedding[:] = model.parts.unembedding[: VOCABULARY // 16].repeat(16, 1)

    lens = lens_of(model, 0, k)

    assert lens is not None
    step = VOCABULARY // 16
    first = lens.promoted_tokens[:, :1]
    assert (first < step).all()
    assert (lens.promoted_tokens == first + step * np.arange(k)).all()
    assert (lens.suppressed_tokens[:, :1] < step).all()
    assert (lens.suppressed_tokens == lens.suppressed_tokens[:, :1] + step * np.arange(k)).all()


def test_more_tokens_than_the_vocabulary_are_the_whole_vocabulary(tmp_path: Path) -> None:
    lens = lens_of(load_tiny("gpt2", tmp_path), 0, VOCABULARY + 1)

    assert lens is not None
    assert (np.sort(lens.promoted_tokens, axis=1) == np.arange(VOCABULARY)).all()


@pytest.mark.parametrize("name", ["bert", "distilbert", "opt/350m"])
def test_a_model_without_a_direct_path_has_no_lens(name: str, tmp_path: Path) -> None:
    assert lens_of(load_tiny(name, tmp_path), 0) is None
