"""Contender: `model(**inputs)` of transformers, nothing analysed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from benchmarks.peers.protocol import Maxima, Task, Way, batches, serve


def load(task: Task) -> Mapping[str, Way]:
    model = AutoModelForCausalLM.from_pretrained(task.model, dtype=torch.float32).eval()
    inputs = [torch.from_numpy(batch) for batch in batches(np.load(task.ids), task.batch)]

    def run(folder: Path) -> Maxima:
        with torch.inference_mode():
            for ids in inputs:
                model(input_ids=ids, attention_mask=torch.ones_like(ids))
        return None

    return {"model": run}


if __name__ == "__main__":
    serve(load)
