"""What the scan costs beside bodies of other shapes, whose weights are random: for GPUs, as eager
and as compiled ones.

The model is made in place from a config, the text of made-up words, all windows full. Each block is
run every way in turn, in another order from block to block.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

from benchmarks.made_up import WORDS, make_texts
from benchmarks.markdown import quartiles, table
from benchmarks.speed import Way, body_way, causal_way, in_turn, plan_texts, planned_blocks, timed
from polyseme.contract.records.catalogue import Entry
from polyseme.contract.records.request import AnalysisRequest
from polyseme.workers.analysis import warm_up
from polyseme.workers.analysis.corpus.plan import Plan
from polyseme.workers.analysis.families.architectures import count_neurons
from polyseme.workers.analysis.families.parts import find_family, find_parts
from polyseme.workers.analysis.machine.limits import Limits
from polyseme.workers.analysis.machine.memory import keeping_freed_arrays
from polyseme.workers.analysis.machine.threads import set_threads
from polyseme.workers.analysis.models.compiled import compile_layers
from polyseme.workers.analysis.models.load import (
    LoadedModel,
    load_model,
    resolve_device,
    resolve_dtype,
)
from polyseme.workers.analysis.scan.kernels.by_device import choose_kernels, name_of
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.senses.vectors import writing_vectors
from polyseme.workers.analysis.sites.table import describe_sites
from polyseme.workers.analysis.steps.analysis import Analysis
from polyseme.workers.analysis.steps.scan_shard import ShardScan

SHAPES: dict[str, Callable[[], Any]] = {
    "gpt2-small": GPT2Config,
    "llama-1b": lambda: LlamaConfig(
        **_LLAMA | {"hidden_size": 2048, "intermediate_size": 8192}, num_hidden_layers=16
    ),
    "llama-8b": lambda: LlamaConfig(**_LLAMA | {"hidden_size": 4096, "intermediate_size": 14_336}),
    "smollm2-135m": lambda: LlamaConfig(
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
    ),
    "tiny": lambda: LlamaConfig(
        vocab_size=32_000,
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=4,
        num_attention_heads=4,
    ),
}
_LLAMA = {"vocab_size": 128_256, "num_attention_heads": 32, "num_key_value_heads": 8}
WARM_BLOCKS = 2
WINDOW = 128


@dataclass
class Measured:
    """Of each block, by the way it was run."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    peak_bytes: dict[str, int] = field(
        default_factory=lambda: defaultdict(int)
    )  # beyond what was there before


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shapes", nargs="+", choices=SHAPES, default=["gpt2-small", "llama-1b", "llama-8b"]
    )
    parser.add_argument("--blocks", type=int, default=10, help="to run, beside those that warm up")
    parser.add_argument(
        "--block-tokens", type=int, default=0, help="tokens of a block; 0: by the device"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="of torch and the kernels; 0 leaves torch's choice"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    parser.add_argument("--dtype", default="bfloat16", help="float32 or bfloat16")


def run(options: argparse.Namespace) -> str:
    set_threads(options.threads)
    warm_up.main()
    return "\n\n".join(["## Shapes", *(_measure(name, options) for name in options.shapes)])


def _measure(name: str, options: argparse.Namespace) -> str:
    with tempfile.TemporaryDirectory(prefix="polyseme-shapes-") as folder:
        model = make_model(Path(folder), name, options.device, options.dtype)
        limits = Limits(options.block_tokens).on(model.device, model.dtype, model.card)
        tokens = options.blocks * limits.block_tokens
        request, texts = _make_request(model, tokens), list(make_texts(2 * tokens))
        analysis, plan = plan_texts(model, request, texts, Path(folder), limits)
        with keeping_freed_arrays(), writing_vectors(analysis.store, "work/vectors.npz") as vectors:
            lists = _allocated(model)
            scan = ShardScan(analysis, model, plan, vectors)
            lists = _allocated(model) - lists
            senses = replace(analysis.request.senses, enabled=False)
            plain = replace(analysis, request=replace(analysis.request, senses=senses))
            ways = {
                "the body": _eagerly(body_way(model)),
                "`model(**inputs)`": _eagerly(causal_way(model)),
                "the scan": _eagerly(scan.run),
                "the compiled body": body_way(model),
                "the compiled scan, without senses": ShardScan(plain, model, plan, None).run,
                "the compiled scan": scan.run,
            }
            measured = _run(analysis, model, plan, ways)
    return _report(name, model, analysis, plan, measured, lists)


def make_model(folder: Path, name: str, device: str, dtype: str) -> LoadedModel:
    """A compiled model of random weights, with a tokenizer of made-up words."""
    saved = folder / "model"
    warm_up.save_tiny_model(saved, words=WORDS, hidden=8, neurons=8, layers=1, heads=1)
    tiny = load_model(
        Entry(name, "path", str(saved)), device="cpu", dtype="float32", cache=folder / "cache"
    )
    config, at, precision = SHAPES[name](), resolve_device(device), resolve_dtype(dtype)
    family = find_family(config)
    with torch.device(at):
        whole = AutoModelForCausalLM.from_config(config, dtype=precision).eval()
    parts = find_parts(family, whole)
    card = replace(
        tiny.card,
        family=family.model_type,
        layers=len(parts.blocks),
        neurons=count_neurons(config, family),
        hidden_size=config.hidden_size,
        sites=describe_sites(parts),
    )
    return replace(
        tiny,
        card=card,
        parts=parts,
        device=at,
        dtype=precision,
        size_bytes=sum(p.numel() * p.itemsize for p in whole.parameters()),
        relay=compile_layers(parts),
    )


def _make_request(model: LoadedModel, tokens: int) -> AnalysisRequest:
    contexts = {"window": WINDOW, "packing": "concat"}
    data = {
        "model": model.card.id,
        "corpus": {"id": "made-up"},
        "contexts": contexts,
        "tokens": {"max_tokens": tokens},
    }
    return AnalysisRequest.from_dict(data)


def _eagerly(way: Way) -> Way:
    def run(block: Block) -> None:
        with torch.compiler.set_stance("force_eager"):
            way(block)

    return run


def _run(analysis: Analysis, model: LoadedModel, plan: Plan, ways: dict[str, Way]) -> Measured:
    blocks = list(planned_blocks(analysis, model, plan))
    measured = Measured()
    for way in ways.values():
        for block in islice(blocks, WARM_BLOCKS):
            timed(model, way, block)
    for name, block in in_turn(ways, blocks):
        before = _allocated(model)
        if model.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(model.device)
        measured.seconds[name].append(timed(model, ways[name], block))
        if model.device.type == "cuda":
            beyond = torch.cuda.max_memory_allocated(model.device) - before
            measured.peak_bytes[name] = max(measured.peak_bytes[name], beyond)
    return measured


def _allocated(model: LoadedModel) -> int:
    return torch.cuda.memory_allocated(model.device) if model.device.type == "cuda" else 0


def _report(
    name: str, model: LoadedModel, analysis: Analysis, plan: Plan, measured: Measured, lists: int
) -> str:
    seconds = measured.seconds
    rows = []
    for way, times in seconds.items():
        peak = (
            f"{measured.peak_bytes[way] / 1e9:.2f}"
            if way in measured.peak_bytes
            else "not on a CPU"
        )
        rows.append(
            [
                way,
                f"{plan.tokens / sum(times):,.0f}",
                _spread(times, seconds["the body"]),
                _spread(times, seconds["the compiled body"]),
                peak,
            ]
        )
    return "\n\n".join(
        [
            f"### {name}",
            f"{model.dtype} on {model.device} (kernels: {name_of(choose_kernels(model.device))}), "
            f"{len(model.parts.blocks)} layers of "
            f"{model.card.neurons:,} neurons, weights of {model.size_bytes / 1e9:.2f} GB, lists "
            f"of {lists / 1e9:.2f} "
            f"GB; {plan.tokens:,} tokens in {len(seconds['the body'])} blocks of at most "
            f"{analysis.block_tokens:,}.",
            table(
                ["", "tokens/s", "times the body", "times the compiled body", "peak beyond, GB"],
                rows,
            ),
        ]
    )


def _spread(these: list[float], those: list[float]) -> str:
    low, middle, high = quartiles(a / b for a, b in zip(these, those, strict=True))
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"
