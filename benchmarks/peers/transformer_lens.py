"""Contender:

TransformerLens' `run_with_cache`, and torch.topk over each neuron's maximum in each window.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from transformer_lens.model_bridge import TransformerBridge

from benchmarks.peers.protocol import Maxima, Task, Way, batches, serve


def load(task: Task) -> Mapping[str, Way]:
    bridge = TransformerBridge.boot_transformers(task.model, device="cpu", dtype=torch.float32)
    # What it calls blocks.L.mlp.hook_post is an alias of this one.
    names = [f"blocks.{layer}.mlp.out.hook_in" for layer in task.layers]
    inputs = [torch.from_numpy(batch) for batch in batches(np.load(task.ids), task.batch)]

    def run(folder: Path) -> Maxima:
        peaks: list[torch.Tensor] = []
        with torch.inference_mode():
            for ids in inputs:
                _, cache = bridge.run_with_cache(ids, names_filter=names)
                peaks.append(torch.stack([cache[name].amax(1) for name in names]))  # (L, B, N)
            together = torch.cat(peaks, 1)  # (L, windows, N)
            top = together.topk(min(task.top_k, together.shape[1]), 1)
        return lambda: top.values[:, 0].numpy()

    return {"transformer-lens": run}


if __name__ == "__main__":
    serve(load)
