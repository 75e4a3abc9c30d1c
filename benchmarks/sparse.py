"""What the scan of a dictionary's latents adds to making them: random activations, random weights,
one thread unless said otherwise. Every block is timed in each part, one after the other.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.markdown import table
from polyseme.contract.records.request import AnalysisRequest
from polyseme.workers.analysis.corpus.windows import Window, cut_text, pack, unpack
from polyseme.workers.analysis.dictionaries.dictionary import Encoder
from polyseme.workers.analysis.dictionaries.gates import TopK
from polyseme.workers.analysis.machine.threads import set_threads
from polyseme.workers.analysis.scan.layer_scan import LayerScan
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.scan.statistics.context_lists import ListSizes
from polyseme.workers.analysis.scan.statistics.draws import Draws, unit_seeds

WINDOW, BLOCK, WIDTH = 128, 1024, 576  # tokens, tokens, numbers of an activation


@dataclass
class Clock:
    seconds: dict[str, float] = field(default_factory=dict)

    def time(self, name: str, work: Callable[[], Tensor | None]) -> Tensor | None:
        began = time.perf_counter()
        made = work()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
        return made


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--latents", type=int, nargs="+", default=[16_384])
    parser.add_argument("--k", type=int, default=64, help="latents active at a token")
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=1)


def run(options: argparse.Namespace) -> str:
    set_threads(options.threads)
    rows = [_measure(latents, options.k, options.tokens // BLOCK) for latents in options.latents]
    names = ["product", "gate", "sparse scan", "dense scan"]
    told = [
        [
            f"{latents:,}",
            *(f"{seconds[name]:.1f}" for name in names),
            f"{seconds['sparse scan'] / seconds['product']:.2f}",
            f"{seconds['dense scan'] / seconds['product']:.2f}",
        ]
        for latents, seconds in zip(options.latents, rows, strict=True)
    ]
    heads = ["latents", *(f"{name}, s" for name in names), "sparse / product", "dense / product"]
    return (
        f"## The scan of latents\n\n{options.tokens // BLOCK * BLOCK:,} tokens, {WIDTH} wide, "
        f"{options.k} latents active at a token. *Product* is the encoder's matrix product, *gate* "
        f"the choice of the largest; a *scan* is all that is kept of the latents.\n\n"
        f"{table(heads, told)}"
    )


def _measure(latents: int, k: int, blocks: int) -> dict[str, float]:
    draw = torch.Generator().manual_seed(0)
    encoder = Encoder(torch.randn(latents, WIDTH, generator=draw) / WIDTH**0.5, None, TopK(k))
    sparse, dense = _new_scan(latents, sparse=True), _new_scan(latents, sparse=False)
    clock = Clock()
    for number in range(blocks + 1):  # the first one compiles
        block = _block(number)
        x = torch.randn(BLOCK, WIDTH, generator=draw)
        pre = clock.time("product", lambda x=x: torch.nn.functional.linear(x, encoder.weight))
        assert pre is not None
        made = clock.time("gate", lambda pre=pre: encoder.gate(pre))
        assert made is not None
        given = made.unflatten(0, block.ids.shape)
        clock.time("sparse scan", lambda b=block, g=given: sparse.update(b, g))
        clock.time("dense scan", lambda b=block, g=given: dense.update(b, g))
        if number == 0:
            clock.seconds.clear()
    _assert_same(sparse, dense)
    return clock.seconds


def _new_scan(latents: int, *, sparse: bool) -> LayerScan:
    sizes = replace(ListSizes.of(AnalysisRequest("m", "c")), active_only=True)
    draws = Draws(unit_seeds(0, np.arange(latents), "positive"), np.full(latents, 1.0, np.float32))
    return LayerScan(latents, {"positive": draws}, sizes, sparse=sparse)


def _block(number: int) -> Block:
    windows = [_window(number * BLOCK // WINDOW + i) for i in range(BLOCK // WINDOW)]
    return Block(unpack(pack(windows)), number * len(windows), 0, "cpu")


def _window(number: int) -> Window:
    """A document of its own, a character a token."""
    places = np.arange(WINDOW, dtype=np.int32)
    documents = np.full(WINDOW, number, np.int32)
    text = cut_text(documents, places, places + 1, {number: "a" * WINDOW})
    counted = np.ones(WINDOW, bool)
    return Window(number, np.zeros(WINDOW, np.int32), documents, places, places + 1, counted, text)


def _assert_same(one: LayerScan, other: LayerScan) -> None:
    first, second = one.arrays(), other.arrays()
    assert all(np.array_equal(first[name], second[name], equal_nan=True) for name in first)
