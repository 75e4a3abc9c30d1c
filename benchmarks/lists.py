"""What lists cost on a CPU, of the model's body: the compiled kernels' and plain torch's."""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.markdown import table
from benchmarks.sample_model import add_model_options, load_sample_model
from benchmarks.speed import body_way, make_request, plan_texts, planned_blocks, take_texts, timed
from polyseme.workers.analysis.machine.threads import set_threads
from polyseme.workers.analysis.scan.kernels import cpu, reference
from polyseme.workers.analysis.scan.kernels.by_device import name_of
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.scan.statistics.layer_statistics import LayerStatistics
from polyseme.workers.analysis.steps.analysis import new_scan, run_selected

PARTS = 4  # of the blocks, a row each: lists that fill cost more than full ones


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokens", type=int, default=40_000, help="tokens to run")
    parser.set_defaults(site="mlp", layers="all", tails="positive")
    add_model_options(parser, dtype=False)


def run(options: argparse.Namespace) -> str:
    set_threads(options.threads)
    model = load_sample_model(options.cache)
    request, texts = make_request(options, options.tokens), take_texts(options.tokens)
    seconds: dict[tuple[int, str], float] = defaultdict(float)
    with tempfile.TemporaryDirectory(prefix="polyseme-bench-") as folder:
        analysis, plan = plan_texts(model, request, texts, Path(folder))
        blocks = list(planned_blocks(analysis, model, plan))
        forms = (cpu, reference)
        lists = {
            form: {layer: new_scan(analysis, layer, "cpu").tails for layer in analysis.layers}
            for form in forms
        }
        spare = LayerStatistics(len(analysis.neurons))
        for number, block in enumerate(blocks):
            part = number * PARTS // len(blocks)

            def receive(
                layer: int, activations: Tensor, block: Block = block, part: int = part
            ) -> None:
                extremes = cpu.reduce(block, activations, spare)
                for form in forms if layer % 2 else forms[::-1]:
                    for tail, kept in lists[form][layer].items():
                        offered = activations, extremes, tail, kept
                        seconds[part, name_of(form)] += timed(
                            model, lambda b, f=form, o=offered: f.offer(b, *o), block
                        )

            with torch.inference_mode():
                run_selected(analysis, model, block, receive, should_stop=lambda: False)
            seconds[part, "body"] += timed(model, body_way(model), block)
    rows = []
    for part in range(PARTS):
        body = seconds[part, "body"]
        costs = [f"{seconds[part, name_of(form)] / body:.4f}" for form in forms]
        rows.append([f"quarter {part + 1}", *costs])
    return table(["of the body's time", *map(name_of, forms)], rows)
