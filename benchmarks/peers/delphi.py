"""Contender: delphi's cache of all activations, written as its own command writes it.

Its encoders of sparse features are left out, so that the features are the neurons: what goes into
`down_proj`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from delphi.config import CacheConfig
from delphi.latents import LatentCache
from torch import Tensor
from transformers import AutoModel

from benchmarks.peers.protocol import Maxima, Task, Way, serve


def load(task: Task) -> Mapping[str, Way]:
    model = AutoModel.from_pretrained(task.model, dtype=torch.float32).eval()
    tokens = torch.from_numpy(np.load(task.ids))
    config = CacheConfig(batch_size=task.batch, cache_ctx_len=task.window, n_tokens=task.tokens)
    encoders = {f"layers.{layer}.mlp.down_proj": _as_it_is for layer in task.layers}

    def run(folder: Path) -> Maxima:
        # `transcode` is its word for what goes into a module, not what comes out.
        cache = LatentCache(model, encoders, batch_size=task.batch, transcode=True)
        cache.run(task.tokens, tokens)
        cache.save_splits(n_splits=config.n_splits, save_dir=folder)
        cache.save_config(save_dir=folder, cfg=config, model_name=task.model)
        return lambda: np.stack([_maxima(cache, name, task.neurons) for name in encoders])

    return {"delphi": run}


def _as_it_is(activations: Tensor) -> Tensor:
    return activations


def _maxima(cache: LatentCache, name: str, neurons: int) -> np.ndarray:
    values, places = cache.cache.latent_activations[name], cache.cache.latent_locations[name]
    return (
        torch.full((neurons,), -torch.inf).scatter_reduce(0, places[:, 2], values, "amax").numpy()
    )


if __name__ == "__main__":
    serve(load)
