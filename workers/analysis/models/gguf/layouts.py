"""How the tensors of a GGUF file lie, back to how transformers has them.

Source: the converters of llama.cpp, which each of these undoes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

# The values, transformers' name of the parameter, its config -> the values as transformers has them
Layout = Callable[[np.ndarray, str, Any], np.ndarray]


def as_is(values: np.ndarray, name: str, config: Any) -> np.ndarray:
    return values


def interleaved_heads(values: np.ndarray, name: str, config: Any) -> np.ndarray:
    """Rows of queries and keys, whose rotated halves lie interleaved: (2i, 2i + 1) were (i, i +
    half).
    """
    if not name.rpartition(".")[0].endswith(("q_proj", "k_proj")):
        return values
    queries = "q_proj" in name
    heads = config.num_attention_heads if queries else config.num_key_value_heads
    rest = values.shape[1:]
    return values.reshape(heads, -1, 2, *rest).swapaxes(1, 2).reshape(values.shape)


def heads_in_blocks(values: np.ndarray, name: str, config: Any) -> np.ndarray:
    """All queries, all keys, all values; they were together head by head."""
    if "query_key_value" not in name:
        return values
    heads = config.num_attention_heads
    parts = values.reshape(3, heads, -1, *values.shape[1:])
    return parts.swapaxes(0, 1).reshape(values.shape)


def groups_in_blocks(values: np.ndarray, name: str, config: Any) -> np.ndarray:
    """All queries, all keys, all values; they were together by the heads that share a key."""
    if "query_key_value" not in name:
        return values
    groups = config.num_kv_heads if config.new_decoder_architecture else 1
    rest = values.shape[1:]
    size = config.hidden_size // config.num_attention_heads
    shared = groups * size
    queries, keys, of_values = np.split(values, [len(values) - 2 * shared, len(values) - shared])
    parts = [queries.reshape(groups, -1, *rest)]
    parts += [part.reshape(groups, size, *rest) for part in (keys, of_values)]
    return np.concatenate(parts, axis=1).reshape(values.shape)


def transposed(values: np.ndarray, name: str, config: Any) -> np.ndarray:
    """GPT-2's Conv1D holds its matrix as (in, out)."""
    inside = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    return values.T if name.endswith(inside) else values


def norms_plus_one(values: np.ndarray, name: str, config: Any) -> np.ndarray:
    """Gemma's norms multiply by 1 + weight; the file has the sum."""
    return values - 1 if name.endswith("norm.weight") else values
