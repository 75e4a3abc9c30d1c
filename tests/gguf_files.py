"""GGUF files of tiny models, laid out as llama.cpp's converters lay them out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGUFWriter

# transformers' name of a family -> that of the format
ARCHITECTURES = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "smollm3": "smollm3",
    "phi": "phi2",
    "phi3": "phi3",
    "olmo": "olmo",
    "olmo2": "olmo2",
    "stablelm": "stablelm",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3_text": "gemma3",
    "starcoder2": "starcoder2",
    "gpt_bigcode": "starcoder",
    "gpt2": "gpt2",
    "gpt_neox": "gptneox",
    "falcon": "falcon",
    "bloom": "bloom",
}
_INTERLEAVED = ("llama", "smollm3", "olmo")
_LAYER_NORMS = ("phi2", "stablelm", "starcoder", "starcoder2", "gpt2", "gptneox", "falcon", "bloom")
_ROTARY = {"llama", "qwen2", "qwen3", "smollm3", "phi2", "phi3", "olmo", "olmo2", "stablelm"}
_ROTARY |= {"gemma3", "starcoder2", "gptneox"}

Keys = Callable[[GGUFWriter], None]


def write_gguf(
    path: Path,
    model: Any,
    tokenizer: Any,
    *,
    more: Keys = lambda writer: None,
    tensors: Mapping[str, np.ndarray] = {},
    pre: str | None = "gpt-2",
    family: str = "",
) -> None:
    """Writes the model and its tokenizer. more: other keys; tensors: others than the model's."""
    config = model.config
    family = family or config.model_type
    architecture = ARCHITECTURES[family]
    writer = GGUFWriter(str(path), architecture)
    _write_sizes(writer, architecture, config)
    write_tokenizer(writer, tokenizer, pre)
    more(writer)
    for name, values in (*_lay_out(model, architecture), *tensors.items()):
        writer.add_tensor(name, np.ascontiguousarray(values, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_sizes(writer: GGUFWriter, architecture: str, config: Any) -> None:
    heads = config.num_attention_heads
    shared = getattr(config, "num_key_value_heads", None) or heads
    if architecture == "falcon":
        shared = config.num_kv_heads if config.new_decoder_architecture else 1
    if architecture == "starcoder":
        shared = 1
    writer.add_name("tiny")
    writer.add_file_type(0)
    writer.add_context_length(getattr(config, "max_position_embeddings", 2048))
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(_width(config))
    writer.add_head_count(heads)
    writer.add_head_count_kv(shared)
    if architecture in _LAYER_NORMS:
        writer.add_layer_norm_eps(_epsilon(config))
    elif architecture == "olmo":
        writer.add_layer_norm_eps(1e-5)
    else:
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    if architecture in _ROTARY:
        rope = config.rope_parameters
        rope = rope.get("full_attention", rope)
        writer.add_rope_freq_base(rope["rope_theta"])
        if architecture != "gemma3":
            writer.add_rope_dimension_count(int(size * rope.get("partial_rotary_factor", 1.0)))
    if architecture.startswith("gemma") or architecture == "qwen3":
        writer.add_key_length(size)
        writer.add_value_length(size)
    if architecture in ("gemma2", "gemma3"):
        writer.add_sliding_window(config.sliding_window)
    if architecture == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if architecture == "phi3":
        writer.add_sliding_window(config.sliding_window or 0)
    if architecture in ("stablelm", "gptneox"):
        writer.add_parallel_residual(config.use_parallel_residual)


def _width(config: Any) -> int:
    for name in ("ffn_hidden_size", "n_inner", "intermediate_size"):
        if getattr(config, name, None):
            return int(getattr(config, name))
    return 4 * int(config.hidden_size)


def _epsilon(config: Any) -> float:
    names = ("norm_epsilon", "layer_norm_epsilon", "layer_norm_eps")
    return float(next(getattr(config, name) for name in names if hasattr(config, name)))


def write_tokenizer(writer: GGUFWriter, tokenizer: Any, pre: str | None) -> None:
    """pre: of a byte-level tokenizer the name of its splitting; None: its kind is SentencePiece."""
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    added = {token["id"]: token for token in backend["added_tokens"]}
    vocabulary = {i: token for token, i in backend["model"]["vocab"].items()}
    vocabulary |= {i: token["content"] for i, token in added.items()}
    tokens = [vocabulary[i] for i in range(len(vocabulary))]
    writer.add_tokenizer_model("llama" if pre is None else "gpt2")
    writer.add_tokenizer_pre(pre or "default")
    writer.add_token_list(tokens)
    merges = [m if isinstance(m, str) else " ".join(m) for m in backend["model"]["merges"]]
    if pre is None:
        ranks = {merge.replace(" ", ""): rank for rank, merge in enumerate(merges)}
        writer.add_token_scores([-float(ranks.get(token, 0)) for token in tokens])
    else:
        writer.add_token_merges(merges)
    writer.add_token_types([_kind(token, added.get(i)) for i, token in enumerate(tokens)])
    writer.add_add_bos_token(bool(tokenizer.backend_tokenizer.encode("").ids))
    for role, add in (
        ("bos", writer.add_bos_token_id),
        ("eos", writer.add_eos_token_id),
        ("unk", writer.add_unk_token_id),
        ("pad", writer.add_pad_token_id),
    ):
        if (name := getattr(tokenizer, f"{role}_token")) is not None:
            add(backend["model"]["vocab"].get(name, tokenizer.convert_tokens_to_ids(name)))


def _kind(token: str, added: Mapping[str, Any] | None) -> int:
    types = gguf.TokenType
    if added is not None and token == "<unk>":
        return types.UNKNOWN
    if added is not None:
        return types.CONTROL if added["special"] else types.USER_DEFINED
    return types.BYTE if token.startswith("<0x") and token.endswith(">") else types.NORMAL


def _lay_out(model: Any, architecture: str) -> list[tuple[str, np.ndarray]]:
    config = model.config
    [arch] = (key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    table = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    found = []
    for name, parameter in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = parameter.detach().float().numpy()
        path, _, ending = name.rpartition(".")
        known = table.get_name(path) or table.get_name(path.partition(".")[2])
        assert known, name
        found.append((f"{known}.{ending}", _laid(values, name, architecture, config)))
    return found


def _laid(values: np.ndarray, name: str, architecture: str, config: Any) -> np.ndarray:
    rest = values.shape[1:]
    if architecture in _INTERLEAVED and (".q_proj." in name or ".k_proj." in name):
        count = config.num_attention_heads if ".q_proj." in name else config.num_key_value_heads
        return values.reshape(count, 2, -1, *rest).swapaxes(1, 2).reshape(values.shape)
    if architecture.startswith("gemma") and name.endswith("norm.weight"):
        return values + 1
    if architecture == "gpt2" and values.ndim == 2 and ".h." in name:
        return values.T
    if "query_key_value" in name and architecture in ("bloom", "gptneox"):
        by_head = values.reshape(config.num_attention_heads, 3, -1, *rest)
        return np.concatenate([by_head[:, part].reshape(-1, *rest) for part in range(3)])
    if "query_key_value" in name and architecture == "falcon":
        groups = config.num_kv_heads if config.new_decoder_architecture else 1
        size = config.hidden_size // config.num_attention_heads
        parts = values.reshape(groups, -1, size, *rest)
        cut = parts[:, :-2], parts[:, -2:-1], parts[:, -1:]
        return np.concatenate([part.reshape(-1, *rest) for part in cut])
    return values
