"""The architectures of GGUF files that are known for certain, and their configs.

A file's numbers have llama.cpp's names, and what is not in them follows from which tensors there
are. Where neither says what a model needs, it is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyseme.workers.analysis.models.gguf.gguf_file import GgufFile
from polyseme.workers.analysis.models.gguf.layouts import (
    Layout,
    as_is,
    groups_in_blocks,
    heads_in_blocks,
    interleaved_heads,
    norms_plus_one,
    transposed,
)
from polyseme.workers.analysis.models.gguf.rotary import rope_parameters

Settings = dict[str, Any]


@dataclass(frozen=True)
class Architecture:
    model_type: str  # transformers' name
    config: Callable[[GgufFile], Settings]  # its settings
    layout: Layout


def _shared(file: GgufFile) -> Settings:
    """What every architecture has, with the names that most configs of transformers use."""
    heads = _uniform(file, "attention.head_count")
    _no_experts(file)
    return {
        "vocab_size": file.shape("token_embd.weight")[0],
        "hidden_size": int(file.require("embedding_length")),
        "num_hidden_layers": int(file.require("block_count")),
        "num_attention_heads": heads,
        "num_key_value_heads": _uniform(file, "attention.head_count_kv", heads),
        "intermediate_size": _uniform(file, "feed_forward_length"),
        "max_position_embeddings": int(file.require("context_length")),
        "tie_word_embeddings": not file.has("output.weight"),
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }


def _uniform(file: GgufFile, key: str, default: int | None = None) -> int:
    """A number that a file may also give layer by layer."""
    value = file.find(key, default)
    values = set(value) if isinstance(value, list) else {value}
    if value is None or len(values) != 1:
        raise ValueError(f"{file.architecture}.{key} is {value}, where one number is needed")
    return int(values.pop())


def _no_experts(file: GgufFile) -> None:
    for key in ("expert_count", "expert_used_count", "nextn_predict_layers"):
        file.only(f"{file.architecture}.{key}", 0)
    file.only(f"{file.architecture}.attention.causal", True)
    file.find("vocab_size")  # the embedding has the number that counts


def _head_dim(file: GgufFile, settings: Settings) -> int:
    usual = settings["hidden_size"] // settings["num_attention_heads"]
    size = int(file.find("attention.key_length", usual))
    file.only(f"{file.architecture}.attention.value_length", size)
    return size


def _gated(
    file: GgufFile, *, norm: str = "rms", partial: bool = False, head_dim: bool = True
) -> Settings:
    """The shape Llama set. norm: "rms" or "layer"; head_dim: whether the config has one."""
    settings = _shared(file)
    size = _head_dim(file, settings)
    usual = settings["hidden_size"] // settings["num_attention_heads"]
    if not head_dim and size != usual:
        raise ValueError(f"its heads have {size} dimensions; {file.architecture} has {usual} here")
    if norm == "rms":
        settings["rms_norm_eps"] = float(file.require("attention.layer_norm_rms_epsilon"))
    else:
        settings["layer_norm_eps"] = float(file.require("attention.layer_norm_epsilon"))
    settings["rope_parameters"] = rope_parameters(file, size, partial=partial)
    return settings | ({"head_dim": size} if head_dim else {})


def _llama(file: GgufFile) -> Settings:
    return _gated(file) | {
        "attention_bias": file.has("blk.0.attn_q.bias"),
        "mlp_bias": file.has("blk.0.ffn_gate.bias"),
    }


def _qwen2(file: GgufFile) -> Settings:
    return _gated(file, head_dim=False) | {"use_sliding_window": False}


def _qwen3(file: GgufFile) -> Settings:
    return _gated(file) | {"use_sliding_window": False, "attention_bias": False}


def _smollm3(file: GgufFile) -> Settings:
    # llama.cpp leaves every fourth layer without rotation, and the file does not say so.
    settings = _gated(file, head_dim=False)
    return settings | {"no_rope_layer_interval": 4, "use_sliding_window": False}


def _phi3(file: GgufFile) -> Settings:
    settings = _gated(file, partial=True, head_dim=False)
    rope = settings["rope_parameters"]
    original = rope.get("original_max_position_embeddings", settings["max_position_embeddings"])
    window = file.find("attention.sliding_window")
    return settings | {
        "original_max_position_embeddings": original,
        "sliding_window": int(window) if window else None,  # 0 says that there is none
    }


def _phi2(file: GgufFile) -> Settings:
    return _gated(file, norm="layer", partial=True, head_dim=False)


def _olmo(file: GgufFile) -> Settings:
    file.only(f"{file.architecture}.attention.layer_norm_epsilon", *_near(1e-5))
    file.only(f"{file.architecture}.attention.layer_norm_rms_epsilon", *_near(1e-5))
    settings = _shared(file)
    size = _head_dim(file, settings)
    return settings | {
        "rope_parameters": rope_parameters(file, size),
        "clip_qkv": file.find("attention.clamp_kqv"),
    }


def _near(value: float) -> tuple[float, float]:
    """A number, and what is left of it in float32."""
    return value, float(np.float32(value))


def _olmo2(file: GgufFile) -> Settings:
    return _gated(file, head_dim=False)


def _stablelm(file: GgufFile) -> Settings:
    parallel = not file.has("blk.0.ffn_norm.weight")
    file.only(f"{file.architecture}.use_parallel_residual", parallel)
    return _gated(file, norm="layer", partial=True, head_dim=False) | {
        "use_qkv_bias": file.has("blk.0.attn_q.bias"),
        "use_parallel_residual": parallel,
    }


def _gemma(file: GgufFile) -> Settings:
    return _gated(file)


# The layers of the models that were published, by which llama.cpp tells how attention is scaled.
_GEMMA2_BY_HEAD, _GEMMA2_BY_WIDTH = (26, 42), (46,)
_GEMMA3_BY_HEAD, _GEMMA3_BY_WIDTH = (18, 24, 26, 34, 48), (62,)


def _attention_scalar(
    settings: Settings, by_head: tuple[int, ...], by_width: tuple[int, ...]
) -> int:
    """query_pre_attn_scalar, which no key has."""
    layers = settings["num_hidden_layers"]
    if layers in by_head:
        return int(settings["head_dim"])
    if layers in by_width:
        return int(settings["hidden_size"] // settings["num_attention_heads"])
    raise ValueError(
        f"it does not say how its attention is scaled (query_pre_attn_scalar), which is known of "
        f"models with {', '.join(map(str, (*by_head, *by_width)))} layers only; it has {layers}"
    )


def _gemma2(file: GgufFile) -> Settings:
    settings = _gated(file)
    return settings | {
        "query_pre_attn_scalar": _attention_scalar(settings, _GEMMA2_BY_HEAD, _GEMMA2_BY_WIDTH),
        "sliding_window": int(file.require("attention.sliding_window")),
        "attn_logit_softcapping": float(file.find("attn_logit_softcapping", 50.0)),
        "final_logit_softcapping": float(file.find("final_logit_softcapping", 30.0)),
    }


def _gemma3(file: GgufFile) -> Settings:
    settings = _gated(file)
    window = file.find("attention.sliding_window")
    if window is None:
        raise ValueError("it has no gemma3.attention.sliding_window")
    local = float(file.find("rope.freq_base_swa", 10_000.0))
    cap = file.find("final_logit_softcapping")
    return settings | {
        "query_pre_attn_scalar": _attention_scalar(settings, _GEMMA3_BY_HEAD, _GEMMA3_BY_WIDTH),
        "sliding_window": int(window),
        "final_logit_softcapping": None if cap is None else float(cap),
        "rope_parameters": {
            "full_attention": settings["rope_parameters"],
            "sliding_attention": {"rope_type": "default", "rope_theta": local},
        },
    }


def _starcoder2(file: GgufFile) -> Settings:
    settings = _shared(file)
    window = file.find("attention.sliding_window")
    return settings | {
        "norm_epsilon": float(file.require("attention.layer_norm_epsilon")),
        "rope_parameters": rope_parameters(file, _head_dim(file, settings)),
        "use_bias": file.has("blk.0.attn_q.bias"),
        "sliding_window": int(window) if window else None,
    }


def _gpt2(file: GgufFile) -> Settings:
    settings = _shared(file)
    file.only(f"{file.architecture}.attention.head_count_kv", settings["num_attention_heads"])
    return _old_names(file, settings)


def _gpt_bigcode(file: GgufFile) -> Settings:
    settings = _shared(file)
    if settings["num_key_value_heads"] != 1:
        raise ValueError("starcoder.attention.head_count_kv is not 1, which is not supported")
    return _old_names(file, settings) | {"multi_query": True}


def _old_names(file: GgufFile, settings: Settings) -> Settings:
    return {
        "vocab_size": settings["vocab_size"],
        "n_embd": settings["hidden_size"],
        "n_layer": settings["num_hidden_layers"],
        "n_head": settings["num_attention_heads"],
        "n_inner": settings["intermediate_size"],
        "n_positions": file.shape("position_embd.weight")[0],
        "layer_norm_epsilon": float(file.require("attention.layer_norm_epsilon")),
        "tie_word_embeddings": settings["tie_word_embeddings"],
    }


def _gpt_neox(file: GgufFile) -> Settings:
    return _gated(file, norm="layer", partial=True, head_dim=False) | {
        "use_parallel_residual": bool(file.find("use_parallel_residual", True))
    }


def _falcon(file: GgufFile) -> Settings:
    settings = _shared(file)
    groups = settings.pop("num_key_value_heads")
    width = settings.pop("intermediate_size")
    norms = 2 if file.has("blk.0.attn_norm_2.weight") else 1
    new = groups > 1 or norms == 2
    return settings | {
        "ffn_hidden_size": width,
        "num_kv_heads": groups,
        "new_decoder_architecture": new,
        "num_ln_in_parallel_attn": norms if new else None,
        "multi_query": groups == 1,
        "parallel_attn": True,
        "alibi": False,
        "bias": file.has("blk.0.attn_qkv.bias"),
        "layer_norm_epsilon": float(file.require("attention.layer_norm_epsilon")),
        "rope_parameters": rope_parameters(file, _head_dim(file, settings)),
    }


def _bloom(file: GgufFile) -> Settings:
    settings = _shared(file)
    file.find("attention.max_alibi_bias")  # always alibi
    return {
        "vocab_size": settings["vocab_size"],
        "hidden_size": settings["hidden_size"],
        "n_layer": settings["num_hidden_layers"],
        "n_head": settings["num_attention_heads"],
        "layer_norm_epsilon": float(file.require("attention.layer_norm_epsilon")),
        "tie_word_embeddings": settings["tie_word_embeddings"],
    }


ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture("llama", _llama, interleaved_heads),
    "qwen2": Architecture("qwen2", _qwen2, as_is),
    "qwen3": Architecture("qwen3", _qwen3, as_is),
    "smollm3": Architecture("smollm3", _smollm3, interleaved_heads),
    "phi2": Architecture("phi", _phi2, as_is),
    "phi3": Architecture("phi3", _phi3, as_is),
    "olmo": Architecture("olmo", _olmo, interleaved_heads),
    "olmo2": Architecture("olmo2", _olmo2, as_is),
    "stablelm": Architecture("stablelm", _stablelm, as_is),
    "gemma": Architecture("gemma", _gemma, norms_plus_one),
    "gemma2": Architecture("gemma2", _gemma2, norms_plus_one),
    "gemma3": Architecture("gemma3_text", _gemma3, norms_plus_one),
    "starcoder": Architecture("gpt_bigcode", _gpt_bigcode, as_is),
    "starcoder2": Architecture("starcoder2", _starcoder2, as_is),
    "gpt2": Architecture("gpt2", _gpt2, transposed),
    "gptneox": Architecture("gpt_neox", _gpt_neox, heads_in_blocks),
    "falcon": Architecture("falcon", _falcon, groups_in_blocks),
    "bloom": Architecture("bloom", _bloom, heads_in_blocks),
}


def find_architecture(file: GgufFile) -> Architecture:
    """Raises ValueError for a file that is no model, a part of one, or of another architecture."""
    file.only("general.type", "model")
    file.only("split.count", 0, 1)
    if file.architecture not in ARCHITECTURES:
        raise ValueError(
            f"GGUF files of the architecture {file.architecture!r} are not supported; these are: "
            f"{', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[file.architecture]
