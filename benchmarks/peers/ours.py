"""Contender: this project's scan, and the model's body alone, in one process.

Its plan says which tokens all run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers.protocol import FEW_LAYERS, Maxima, Task, Way, serve
from benchmarks.speed import plan_texts, planned_blocks
from polyseme.contract.files.store import Store
from polyseme.contract.records.catalogue import Entry
from polyseme.contract.records.request import AnalysisRequest, Contexts, Neurons, Senses, Tokens
from polyseme.workers.analysis.files.arrays import write_arrays
from polyseme.workers.analysis.machine.limits import Limits
from polyseme.workers.analysis.machine.memory import keeping_freed_arrays
from polyseme.workers.analysis.models.load import LoadedModel, load_model
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.senses.vectors import writing_vectors
from polyseme.workers.analysis.steps.scan_shard import ShardScan


def load(task: Task) -> Mapping[str, Way]:
    model = load_model(
        Entry("sample", "path", task.model), device="cpu", dtype="float32", cache=Path("cache")
    )
    runner = _Runner(task, model)
    few = replace(runner.request, neurons=Neurons(layers=FEW_LAYERS))
    return {
        "body": runner.run_body,
        "scan": partial(runner.scan, request=runner.request),
        "shard": partial(runner.scan, request=runner.request, keep=True),
        "few": partial(runner.scan, request=replace(few, senses=Senses(enabled=False))),
        "few, senses": partial(runner.scan, request=few),
    }


class _Runner:
    def __init__(self, task: Task, model: LoadedModel) -> None:
        """Plans the analysis of all layers, and writes the ids of its windows for the other
        contenders.
        """
        self.model = model
        # Windows of one length without uncounted tokens, as the other contenders want them.
        self.request = AnalysisRequest(
            model=model.card.id,
            corpus="benchmark",
            contexts=Contexts(top_k=task.top_k, window=task.window, packing="concat"),
            tokens=Tokens(exclude_special=False, max_tokens=task.tokens),
        )
        texts = [
            json.loads(line)["text"]
            for line in Path(task.texts).read_text(encoding="utf-8").splitlines()
        ]
        limits = Limits(block_tokens=task.batch * task.window)
        self.analysis, self.plan = plan_texts(
            model, self.request, texts, Path("plan").absolute(), limits
        )
        self.blocks = self._read_blocks()
        np.save(task.ids, np.concatenate([block.ids.numpy() for block in self.blocks]))

    def _read_blocks(self) -> Sequence[Block]:
        return list(planned_blocks(self.analysis, self.model, self.plan))

    def run_body(self, folder: Path) -> Maxima:
        with torch.inference_mode():
            for block in self.blocks:
                self.model.parts.body(input_ids=block.ids, use_cache=False)
        return None

    def scan(self, folder: Path, *, request: AnalysisRequest, keep: bool = False) -> Maxima:
        """What a worker does with a shard;

        `keep`: and writes its partial, which a job's merge reads.
        """
        analysis, store = replace(self.analysis, request=request), Store(str(folder))
        if not request.senses.enabled:
            scan = ShardScan(analysis, self.model, self.plan, None)
            self._run_blocks(scan)
        else:
            with writing_vectors(store, "vectors.npz") as vectors:
                scan = ShardScan(analysis, self.model, self.plan, vectors)
                self._run_blocks(scan)
                vectors.end(np.concatenate([block.lengths.numpy() for block in self.blocks]))
        if keep:
            write_arrays(store, "partial.npz", scan.arrays())

        def maxima() -> np.ndarray:
            arrays = dict(scan.arrays())
            return np.stack([arrays[f"{layer:03d}/high"] for layer in analysis.layers])

        return maxima

    def _run_blocks(self, scan: ShardScan) -> None:
        with keeping_freed_arrays():
            for block in self.blocks:
                scan.run(block)


if __name__ == "__main__":
    serve(load)
