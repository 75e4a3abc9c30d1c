"""Fingerprints of what decides how a model runs: weights, config, tokenizer."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import nn

from polyseme.workers.analysis.models.tokenizer import TextTokenizer

_NAMES = (
    "dtype",
    "torch_dtype",
    "transformers_version",
)  # in a config, of what does not decide how a model runs


def hash_parameters(model: nn.Module) -> str:
    """SHA-256 over name, dtype, shape and bytes of every parameter, by name; tied ones count
    once.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(f"{name} {parameter.dtype} {tuple(parameter.shape)}\n".encode())
        digest.update(parameter.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def hash_config(config: Any) -> str:
    """SHA-256 over a config's settings: two models of the same weights may run differently."""
    settings = {
        k: v for k, v in config.to_dict().items() if not k.startswith("_") and k not in _NAMES
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()


def hash_tokenizer(tokenizer: TextTokenizer) -> str:
    """SHA-256 over what tokenizes, as JSON without limits on length, and the ids of the tokens with
    a part, and what goes around a text.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    rest = {"parts": tokenizer.parts, "around": [tokenizer.prefix, tokenizer.suffix]}
    text = f"{backend.to_str()}\n{json.dumps(rest, sort_keys=True)}"
    return hashlib.sha256(text.encode()).hexdigest()
