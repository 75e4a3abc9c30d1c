"""A GGUF file gives what the model it was made from gives, or is refused by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGUFWriter

from polyseme.contract.errors import ModelLoadError
from polyseme.contract.records.catalogue import Entry
from polyseme.workers.analysis.models.load import LoadedModel, describe_model, load_model
from polyseme.workers.analysis.models.tokens import tokenize
from tests.gguf_files import ARCHITECTURES, Keys, write_gguf
from tests.tiny_models import (
    TINY,
    build_model,
    plain_tokenizer,
)

TEXT = "The quick brown fox, in 1996: def f(x):\n    return  x  # café 日本 👩"
VOCABULARY = 400
PLAIN = {"rope_type": "default", "rope_theta": 10_000.0}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
LINEAR = {"rope_type": "linear", "rope_theta": 50_000.0, "factor": 4.0}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}


def save(
    folder: Path,
    family: str,
    options: Mapping[str, Any] = {},
    *,
    tokenizer: Any = None,
    **more: Any,
) -> tuple[Any, Entry]:
    """A tiny model, and the entry of its GGUF file."""
    tokenizer = tokenizer or plain_tokenizer()
    model = build_model(TINY[family], vocab_size=max(tokenizer.get_vocab().values()) + 1, **options)
    write_gguf(folder / "model.gguf", model, tokenizer, **more)
    return model, Entry("tiny", "gguf", str(folder / "model.gguf"))


def load(entry: Entry) -> LoadedModel:
    cache = Path(entry.location).parent / "cache"
    return load_model(entry, device="cpu", dtype="float32", cache=cache)


def hidden(model: Any, ids: list[int]) -> np.ndarray:
    with torch.inference_mode():
        found: torch.Tensor = model(input_ids=torch.tensor([ids])).last_hidden_state
    return found.numpy()


def assert_same(original: Any, loaded: LoadedModel) -> None:
    """Of the last hidden states of a text, which depend on all that is before them."""
    ids = tokenize(loaded.tokenizer, [TEXT])[0][0][:48].tolist()
    expected = hidden(original.base_model, ids)

    np.testing.assert_allclose(
        hidden(loaded.parts.body, ids), expected, atol=1e-4 * np.abs(expected).max()
    )


OPTIONS: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": None},
    "gemma2": {"num_hidden_layers": 26, "query_pre_attn_scalar": 8},
    "gemma3_text": {"num_hidden_layers": 26, "query_pre_attn_scalar": 8},
    "stablelm": {"use_qkv_bias": True},
    "phi": {"rope_parameters": PLAIN | {"partial_rotary_factor": 0.5}},
    "falcon": {"bias": True},
}


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_every_architecture_gives_what_its_model_gives(family: str, tmp_path: Path) -> None:
    model, entry = save(tmp_path, family, OPTIONS.get(family, {}))

    assert_same(model, load(entry))


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "biases": ("llama", {"attention_bias": True}),
    "an unembedding of its own": ("qwen2", {"tie_word_embeddings": False}),
    "tied": ("llama", {"tie_word_embeddings": True}),
    "heads wider than the stream": ("qwen3", {"head_dim": 16}),
    "wide heads with interleaved rows": ("llama", {"head_dim": 16}),
    "another base": ("starcoder2", {"rope_parameters": PLAIN | {"rope_theta": 999_999.5}}),
    "one after the other": ("gpt_neox", {"use_parallel_residual": False}),
    "clipped": ("olmo", {"clip_qkv": 0.2}),
    "groups of heads": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "a window": ("phi3", {"sliding_window": 8}),
    "side by side": ("stablelm", {"use_parallel_residual": True}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_what_the_file_says_of_its_shape_is_read(name: str, tmp_path: Path) -> None:
    family, options = VARIANTS[name]
    clip = options.get("clip_qkv")

    def more(writer: GGUFWriter) -> None:
        if clip:
            writer.add_clamp_kqv(clip)
        if "head_dim" in options and family == "llama":
            writer.add_key_length(options["head_dim"])
            writer.add_value_length(options["head_dim"])

    model, entry = save(tmp_path, family, options, more=more)

    assert_same(model, load(entry))


def linear(writer: GGUFWriter) -> None:
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(4.0)


def unnamed(writer: GGUFWriter) -> None:
    writer.add_rope_scaling_factor(4.0)


def yarn(writer: GGUFWriter) -> None:
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(4.0)
    writer.add_rope_scaling_orig_ctx_len(16)


def fast(writer: GGUFWriter) -> None:
    yarn(writer)
    writer.add_rope_scaling_yarn_beta_fast(8.0)


def llama3_factors(size: int) -> np.ndarray:
    """As llama.cpp's converter computes them."""
    low, high = (LLAMA3["original_max_position_embeddings"] / n for n in (1.0, 4.0))
    factors = []
    for wave in 2 * math.pi * 10_000.0 ** (np.arange(0, size, 2) / size):
        smooth = (low / wave - 1.0) / (4.0 - 1.0)
        between = 1 / ((1 - smooth) / 8.0 + smooth)
        factors.append(1.0 if wave < high else 8.0 if wave > low else between)
    return np.array(factors, np.float32)


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "olmo2", "starcoder2", "smollm3"])
@pytest.mark.parametrize(
    ("rope", "keys", "factors"),
    [
        (LINEAR, linear, {}),
        (LINEAR, unnamed, {}),
        (YARN, yarn, {}),
        (YARN | {"beta_fast": 8.0}, fast, {}),
        (LLAMA3, lambda _: None, {"rope_freqs.weight": llama3_factors(8)}),
    ],
    ids=["linear", "a factor alone", "yarn", "yarn with its own limits", "llama3"],
)
def test_scaled_rotations_are_those_of_the_model(
    family: str, rope: dict[str, Any], keys: Keys, factors: Any, tmp_path: Path
) -> None:
    model, entry = save(tmp_path, family, {"rope_parameters": rope}, more=keys, tensors=factors)

    assert_same(model, load(entry))


def test_short_and_long_factors_are_read_and_windows_that_need_the_long_ones_refused(
    tmp_path: Path,
) -> None:
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10_000.0,
        "short_factor": [1.0, 1.0, 1.1, 1.2],
        "long_factor": [1.0, 4.0, 16.0, 64.0],
        "original_max_position_embeddings": 50,
    }

    def keys(writer: GGUFWriter) -> None:
        writer.add_rope_scaling_orig_ctx_len(50)
        scale = 64 / 50
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(50)))

    model, entry = save(
        tmp_path,
        "phi3",
        {"rope_parameters": rope, "original_max_position_embeddings": 50},
        more=keys,
        tensors={
            "rope_factors_long.weight": np.array(rope["long_factor"], np.float32),
            "rope_factors_short.weight": np.array(rope["short_factor"], np.float32),
        },
    )
    loaded = load(entry)

    assert_same(model, loaded)
    assert loaded.card.max_positions == 50


REFUSED: dict[str, tuple[str, Keys, Mapping[str, np.ndarray], str]] = {
    "an unknown key": (
        "llama",
        lambda w: w.add_float32("llama.attention.temperature_scale", 0.1),
        {},
        "what these keys mean is not known here: llama.attention.temperature_scale",
    ),
    "a scale": ("qwen2", lambda w: w.add_logit_scale(2.0), {}, "qwen2.logit_scale"),
    "experts": ("llama", lambda w: w.add_expert_count(8), {}, "llama.expert_count is 8"),
    "an unknown tensor": (
        "llama",
        lambda w: None,
        {"blk.0.attn_q_norm.weight": np.ones(8)},
        "a llama has no such tensors here: blk.0.attn_q_norm.weight",
    ),
    "a scaling that is not known": (
        "llama",
        lambda w: w.add_string("llama.rope.scaling.type", "ntk"),
        {},
        "rope.scaling.type 'ntk' is not supported",
    ),
    "a part of a rotation": (
        "qwen2",
        lambda w: w.add_uint32("qwen2.rope.dimension_count_swa", 4),
        {},
        "qwen2.rope.dimension_count_swa",
    ),
    "values of another length": (
        "qwen3",
        lambda w: w.add_uint32("qwen3.attention.sliding_window", 8),
        {},
        "qwen3.attention.sliding_window",
    ),
    "an adapter": ("llama", lambda w: w.add_type("adapter"), {}, "general.type is 'adapter'"),
    "one of several files": (
        "llama",
        lambda w: w.add_uint16("split.count", 3),
        {},
        "split.count is 3",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_is_refused_by_name(name: str, tmp_path: Path) -> None:
    family, keys, tensors, reason = REFUSED[name]
    _, entry = save(tmp_path, family, more=keys, tensors=tensors)

    card = describe_model(entry, tmp_path / "cache")

    assert card.error is not None
    assert reason in card.error
    with pytest.raises(ModelLoadError):
        load(entry)


def test_a_gemma_of_an_unknown_size_does_not_say_how_it_scales(tmp_path: Path) -> None:
    _, entry = save(tmp_path, "gemma2")

    error = describe_model(entry, tmp_path / "cache").error

    assert error is not None
    assert "does not say how its attention is scaled" in error


@pytest.mark.parametrize("dtype", ["F16", "Q8_0", "Q4_0"])
def test_packed_weights_are_unpacked(dtype: str, tmp_path: Path) -> None:
    model, _ = save(tmp_path, "llama", {"hidden_size": 64, "head_dim": 16})
    kind = gguf.GGMLQuantizationType[dtype]
    packed = tmp_path / "packed.gguf"
    repack(tmp_path / "model.gguf", packed, kind)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and parameter.shape[1] % 32 == 0:
                values = parameter.numpy()
                again = gguf.quants.dequantize(gguf.quants.quantize(values, kind), kind)
                parameter.copy_(torch.from_numpy(again))

    assert_same(model, load(Entry("packed", "gguf", str(packed))))


def repack(source: Path, target: Path, kind: Any) -> None:
    """The same file with its matrices packed. Rows that are interleaved are packed row by row."""
    reader = gguf.GGUFReader(source)
    writer = GGUFWriter(str(target), "llama")
    for field in reader.fields.values():
        if not field.name.startswith(("GGUF.", "general.architecture")):
            sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub)
    for tensor in reader.tensors:
        values = tensor.data
        if values.ndim == 2 and values.shape[1] % 32 == 0:
            writer.add_tensor(tensor.name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(tensor.name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
