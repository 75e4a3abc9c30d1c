"""How a GGUF file says that positions are rotated, as transformers' rope_parameters."""

from __future__ import annotations

import math
from typing import Any

from polyseme.workers.analysis.models.gguf.gguf_file import GgufFile

_FACTORS = "rope_freqs.weight"
_LONG, _SHORT = "rope_factors_long.weight", "rope_factors_short.weight"
_SCALING = "rope.scaling."


def rope_parameters(file: GgufFile, head_dim: int, *, partial: bool = False) -> dict[str, Any]:
    """head_dim: of a head's keys; partial: whether this architecture may rotate fewer of them.

    Raises ValueError for what cannot be said in transformers' words for certain.
    """
    found = _scaling(file) | {"rope_theta": float(file.find("rope.freq_base", 10_000.0))}
    dimensions = int(file.find("rope.dimension_count", head_dim))
    if dimensions != head_dim:
        if not partial:
            raise ValueError(
                f"it rotates {dimensions} of {head_dim} dimensions, which {file.architecture} "
                "cannot do here"
            )
        found["partial_rotary_factor"] = dimensions / head_dim
    return found


def _scaling(file: GgufFile) -> dict[str, Any]:
    factor = _factor(file)
    kind = str(file.find(_SCALING + "type", "linear" if factor != 1 else "none"))
    original = file.find(_SCALING + "original_context_length")
    attention = float(file.find(_SCALING + "attn_factor", 1.0))
    if file.has(_LONG) or file.has(_SHORT):
        return _long_rope(file, kind, original, attention)
    if file.has(_FACTORS):
        return _by_factors(file, kind)
    if kind == "yarn":
        return _yarn(file, factor, original, attention)
    if attention != 1:
        raise ValueError(f"{_SCALING}attn_factor is {attention} without yarn or longrope")
    if kind == "linear" and factor != 1:
        return {"rope_type": "linear", "factor": factor}
    if kind in ("none", "linear"):
        return {"rope_type": "default"}
    raise ValueError(f"its {_SCALING}type {kind!r} is not supported")


def _factor(file: GgufFile) -> float:
    old = file.find("rope.scale_linear", 1.0)
    return float(file.find(_SCALING + "factor", old)) or 1.0


def _by_factors(file: GgufFile, kind: str) -> dict[str, Any]:
    """A factor for each frequency, as of Llama 3.1: longrope whose two lists are the same says just
    that.
    """
    if kind != "none":
        raise ValueError(f"it has both {_FACTORS} and the {_SCALING}type {kind!r}")
    factors = file.take(_FACTORS).tolist()
    if all(factor == 1 for factor in factors):
        return {"rope_type": "default"}
    return {
        "rope_type": "longrope",
        "short_factor": factors,
        "long_factor": factors,
        "attention_factor": 1.0,
        "factor": 1.0,
        "original_max_position_embeddings": int(file.require("context_length")),
    }


def _long_rope(file: GgufFile, kind: str, original: Any, attention: float) -> dict[str, Any]:
    if kind not in ("none", "longrope"):
        raise ValueError(f"it has both {_LONG} and the {_SCALING}type {kind!r}")
    if original is None:
        raise ValueError(f"it has {_LONG}, but no {_SCALING}original_context_length")
    return {
        "rope_type": "longrope",
        "short_factor": file.take(_SHORT).tolist(),
        "long_factor": file.take(_LONG).tolist(),
        "attention_factor": attention,
        "original_max_position_embeddings": int(original),
    }


def _yarn(file: GgufFile, factor: float, original: Any, attention: float) -> dict[str, Any]:
    for key, usual in (("ext_factor", 1.0), ("attn_factor", 1.0)):
        file.only(f"{file.architecture}.{_SCALING}yarn_{key}", usual)
    file.only(f"{file.architecture}.{_SCALING}yarn_log_multiplier", 0.0)
    return {
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": int(original or file.require("context_length")),
        "attention_factor": attention * (1.0 + 0.1 * math.log(factor)),
        "beta_fast": float(file.find(_SCALING + "yarn_beta_fast", 32.0)),
        "beta_slow": float(file.find(_SCALING + "yarn_beta_slow", 1.0)),
    }
