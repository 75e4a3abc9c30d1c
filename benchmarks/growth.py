"""How the time of an analysis grows with the text, the layers, the neurons and the contexts kept.

One of them at a time differs from a base; every row is a whole analysis in this process, set
against the time of the model's body alone for as many tokens, at its pace between the parts of that
analysis.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.corpora import take_texts
from benchmarks.markdown import table
from benchmarks.sample_model import add_model_options, load_sample_model
from benchmarks.speed import Whole, time_whole
from polyseme.commands import samples
from polyseme.contract.records.request import AnalysisRequest
from polyseme.workers.analysis.machine.threads import set_threads
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.steps import merging

Request = dict[str, Any]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--base-tokens", type=int, default=10_000, help="of all rows but those of the text"
    )
    parser.add_argument(
        "--tokens", type=int, nargs="*", default=[5_000, 20_000, 40_000], help="lengths of the text"
    )
    parser.add_argument(
        "--layers", nargs="*", default=["0-3", "0-14"], help='ranges such as "0-3", beside all'
    )
    parser.add_argument(
        "--neurons", type=int, nargs="*", default=[192, 768], help="of each layer, beside all"
    )
    parser.add_argument(
        "--top-k", type=int, nargs="*", default=[5, 50, 100], help="contexts kept, beside 20"
    )
    add_model_options(parser)


def run(options: argparse.Namespace) -> str:
    set_threads(options.threads)
    model = load_sample_model(
        options.cache, device=options.device, dtype=options.dtype, compiled=options.compile
    )
    with patch.object(
        merging, "logit_lens", cache(merging.logit_lens)
    ):  # half a minute, the same for all rows
        _time(model, {}, 1_000)  # compiles the kernels
        found = [
            (name, _time(model, request, tokens)) for name, request, tokens in _variants(options)
        ]
    base = found[0][1]
    rows = [_row(name, whole, base) for name, whole in found]
    return "\n\n".join(
        [
            "## Growth",
            f"{samples.MODEL_ID}, {model.dtype} on {model.device}, {torch.get_num_threads()} "
            f"threads; defaults, but a "
            "document may give any number of contexts to a list. Seconds, without the logit lens "
            "that a model's first "
            "analysis makes.",
            table(["", "whole", "times the first", "times the body", *base.phases], rows),
        ]
    )


def _variants(options: argparse.Namespace) -> Iterator[tuple[str, Request, int]]:
    tokens = options.base_tokens
    yield f"{tokens:,} tokens, all neurons, top 20", {}, tokens
    for count in options.tokens:
        yield f"{count:,} tokens", {}, count
    for layers in options.layers:
        yield f"layers {layers}", {"neurons": {"layers": layers}}, tokens
    for count in options.neurons:
        yield f"{count} neurons of each layer", {"neurons": {"indices": f"0-{count - 1}"}}, tokens
    for k in options.top_k:
        yield f"top {k}", {"contexts": {"top_k": k}}, tokens


def _time(model: LoadedModel, changes: Request, tokens: int) -> Whole:
    body: Request = {
        "model": samples.MODEL_ID,
        "corpus": {"id": "benchmark"},
        "tokens": {"max_tokens": tokens},
    }
    body |= changes | {"contexts": changes.get("contexts", {}) | {"per_document": None}}
    with tempfile.TemporaryDirectory(prefix="polyseme-bench-") as folder:
        return time_whole(model, AnalysisRequest.from_dict(body), take_texts(tokens), Path(folder))


def _row(name: str, whole: Whole, base: Whole) -> list[str]:
    seconds, first = (w.total_s - w.lens_s for w in (whole, base))
    body = sum(whole.body.values()) - whole.body["lens"]
    phases = [f"{s:.1f}" for s in whole.phases.values()]
    return [name, f"{seconds:.1f}", f"{seconds / first:.3f}", f"{body:.3f}", *phases]
