"""The bare model in processes of one thread side by side: what a machine has for workers that share
it.

Two cores that share caches, memory or a clock do less than twice what one does, whatever runs on
them.
"""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import torch

from benchmarks.sample_model import load_sample_model, random_blocks
from polyseme.workers.analysis.machine.threads import set_threads

_PATIENCE_S = 900


def time_bodies(processes: int, cache: Path) -> float:
    """Seconds until each of so many processes has run the sample model's body over the same 4,096
    tokens.

    Raises threading.BrokenBarrierError when one of them dies.
    """
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(processes + 1)
    children = [
        context.Process(target=_run, args=(gate, cache), daemon=True) for _ in range(processes)
    ]
    for child in children:
        child.start()
    gate.wait(_PATIENCE_S)
    began = time.perf_counter()
    gate.wait(_PATIENCE_S)
    seconds = time.perf_counter() - began
    for child in children:
        child.join()
    return seconds


def _run(gate: Barrier, cache: Path) -> None:
    set_threads(1)
    model = load_sample_model(cache)
    blocks = random_blocks(model)
    with torch.inference_mode():
        model.parts.body(input_ids=blocks[0], use_cache=False)
        gate.wait(_PATIENCE_S)
        for block in blocks:
            model.parts.body(input_ids=block, use_cache=False)
    gate.wait(_PATIENCE_S)
