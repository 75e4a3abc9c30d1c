"""What an analysis costs beside the bare forward pass of the same model over the same windows.

Each block of the plan is run three ways in turn, in another order from block to block, so that what
else the machine does falls on all of them: the model's body alone, the scan (the body with
everything that is kept of each neuron), and the body with the language-model head. All three have
the heap as a scan has it, which keeps freed arrays; what the body takes in a process that has not
asked for that is told too. Afterwards a whole analysis is timed. Every now and then it stops for a
block of the body, since the machine may be twice as fast then as it was before.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import numba
import torch
from torch import Tensor

from benchmarks.corpora import take_texts
from benchmarks.markdown import quartiles, table
from benchmarks.sample_model import add_model_options, load_sample_model, random_blocks
from polyseme.commands import samples
from polyseme.contract.files.documents import write_documents
from polyseme.contract.files.results import SUMMARY
from polyseme.contract.files.store import Store
from polyseme.contract.records.request import AnalysisRequest
from polyseme.workers.analysis import warm_up
from polyseme.workers.analysis.corpus.plan import Plan
from polyseme.workers.analysis.machine.limits import BY_DEVICE, Limits
from polyseme.workers.analysis.machine.memory import keeping_freed_arrays
from polyseme.workers.analysis.machine.threads import set_threads
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.reports.result_files import read_json
from polyseme.workers.analysis.run import MAX_DOCUMENTS, run_analysis
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.senses.vectors import VectorWriter, writing_vectors
from polyseme.workers.analysis.steps import merging
from polyseme.workers.analysis.steps.analysis import Analysis
from polyseme.workers.analysis.steps.planning import calibrate, plan_windows
from polyseme.workers.analysis.steps.scan_shard import ShardScan, shard_blocks

WARM_BLOCKS = 2  # run before anything is timed
APART = 4  # processes of which each runs only the body
APART_BLOCKS = 4  # of each of them
PACE_S = 15.0  # of a whole analysis, after which the body's pace is taken again

Way = Callable[[Block], None]
T = TypeVar("T")


@dataclass
class Times:
    """Seconds of each block, by the way it was run."""

    body: list[float] = field(default_factory=list)
    scan: list[float] = field(default_factory=list)
    causal: list[float] = field(default_factory=list)  # the body and the head


@dataclass
class Whole:
    """Seconds of a whole analysis."""

    tokens: int
    total_s: float
    lens_s: (
        float  # of them in the logit lens, which a model's first analysis makes and the store keeps
    )
    phases: dict[str, float]  # the rest of them, by the progress it reported
    body: dict[
        str, float
    ]  # in how many times the body's time for as many tokens, by phase; "lens" too


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokens", type=int, default=20_000, help="tokens to run")
    parser.add_argument(
        "--whole-tokens",
        type=int,
        help="of the whole analysis, whose body is then reckoned by tokens",
    )
    parser.add_argument(
        "--layers", default="all", help="of the scan, which runs no further than the last of them"
    )
    parser.add_argument("--site", default="mlp", help="whose units")
    parser.add_argument("--tails", default="positive", help="positive, negative or both")
    add_model_options(parser)


def run(options: argparse.Namespace) -> str:
    set_threads(options.threads)
    warm_up.main()
    model = load_sample_model(
        options.cache, device=options.device, dtype=options.dtype, compiled=options.compile
    )
    whole_tokens = options.whole_tokens or options.tokens
    request, texts = make_request(options, options.tokens), take_texts(options.tokens)
    with tempfile.TemporaryDirectory(prefix="polyseme-bench-") as folder:
        analysis, plan = plan_texts(model, request, texts, Path(folder) / "paired")
        with keeping_freed_arrays():
            with writing_vectors(analysis.store, "work/vectors.npz") as vectors:
                times = _time_ways(analysis, model, plan, vectors)
            apart = _time_apart(model, options)
        request, texts = make_request(options, whole_tokens), take_texts(whole_tokens)
        whole = time_whole(model, request, texts, Path(folder) / "whole")
    return _report(analysis, model, plan, times, apart, whole)


def make_request(options: argparse.Namespace, tokens: int) -> AnalysisRequest:
    """Defaults but for what the options say."""
    data = {
        "model": samples.MODEL_ID,
        "corpus": {"id": "benchmark"},
        "neurons": {"site": options.site, "layers": options.layers},
        "contexts": {"tails": options.tails},
        "tokens": {"max_tokens": tokens},
    }
    return AnalysisRequest.from_dict(data)


def plan_texts(
    model: LoadedModel,
    request: AnalysisRequest,
    texts: list[str],
    folder: Path,
    limits: Limits = BY_DEVICE,
) -> tuple[Analysis, Plan]:
    """A planned analysis, whose files are in the folder."""
    store, limits = Store(str(folder)), limits.on(model.device, model.dtype, model.card)
    with store.writing("documents.parquet") as f:
        corpus = write_documents(texts, f, name=request.corpus, max_documents=MAX_DOCUMENTS)
    sizes = limits.block_tokens, limits.shard_tokens
    analysis = Analysis(request, corpus, model.card, store, "work", "result", "lens", *sizes)
    plan = plan_windows(analysis, model, texts)
    calibrate(analysis, model)
    return analysis, plan


# The three ways


def _time_ways(analysis: Analysis, model: LoadedModel, plan: Plan, vectors: VectorWriter) -> Times:
    _warm_up(analysis, model, plan, vectors)
    # Lists of its own: filling empty ones is part of the timed work.
    ways = {
        "body": body_way(model),
        "scan": ShardScan(analysis, model, plan, vectors).run,
        "causal": causal_way(model),
    }
    times = Times()
    for name, block in in_turn(ways, planned_blocks(analysis, model, plan)):
        getattr(times, name).append(timed(model, ways[name], block))
    return times


def in_turn(names: Iterable[str], blocks: Iterable[Block]) -> Iterator[tuple[str, Block]]:
    """Each block under every name, in another order from block to block."""
    order = list(names)
    for block in blocks:
        yield from ((name, block) for name in order)
        order = order[1:] + order[:1]


def _warm_up(analysis: Analysis, model: LoadedModel, plan: Plan, vectors: VectorWriter) -> None:
    """Runs some blocks every way."""
    for way in (body_way(model), ShardScan(analysis, model, plan, vectors).run, causal_way(model)):
        for block in islice(planned_blocks(analysis, model, plan), WARM_BLOCKS):
            timed(model, way, block)


def timed(model: LoadedModel, way: Callable[[T], object], block: T) -> float:
    """Seconds of one run."""
    began = time.perf_counter()
    with torch.inference_mode():
        way(block)
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter() - began


def _time_body(model: LoadedModel, ids: Tensor) -> float:
    return timed(model, partial(model.parts.body, use_cache=False), ids)


def planned_blocks(analysis: Analysis, model: LoadedModel, plan: Plan) -> Iterator[Block]:
    for shard in range(len(plan.shards)):
        yield from shard_blocks(analysis, model, plan, shard)


def body_way(model: LoadedModel) -> Way:
    return lambda block: model.parts.body(input_ids=block.ids, use_cache=False)


def causal_way(model: LoadedModel) -> Way:
    """What the model with its language-model head computes: this head is the unembedding, without a
    bias.
    """
    unembedding = model.parts.unembedding
    assert unembedding is not None

    def run_with_head(block: Block) -> None:
        hidden = model.parts.body(
            input_ids=block.ids, use_cache=False
        ).last_hidden_state  # (B, S, hidden)
        _ = hidden @ unembedding.T  # (B, S, vocabulary)

    return run_with_head


# The body in a process of its own


def _time_apart(model: LoadedModel, options: argparse.Namespace) -> list[float]:
    """Seconds of a block of the body in a process that only loads the model and runs it, in times
    those of the body here, in turn. How a heap comes to lie is chance, so they are of several
    processes, one after another.
    """
    blocks, ratios = random_blocks(model), []
    there = options.threads, options.cache, options.device, options.dtype
    for _ in range(APART):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            process.submit(_time_there, blocks[0].cpu(), *there).result()
            for number in range(APART_BLOCKS):
                block = blocks[number % len(blocks)]
                apart = process.submit(_time_there, block.cpu(), *there).result()
                ratios.append(apart / _time_body(model, block))
    return ratios


def _time_there(block: Tensor, *arguments: Any) -> float:
    model = _load_there(*arguments)
    return _time_body(model, block.to(model.device))


@cache
def _load_there(threads: int, folder: Path, device: str, dtype: str) -> LoadedModel:
    set_threads(threads)
    return load_sample_model(folder, device=device, dtype=dtype)


# The whole analysis


def time_whole(
    model: LoadedModel, request: AnalysisRequest, texts: list[str], folder: Path
) -> Whole:
    """Of a whole analysis, whose result is left in the folder."""
    ids = random_blocks(model)[0]
    clock = _PhaseClock(lambda: _time_body(model, ids) / ids.numel())
    with _lens_told(clock):
        analysis = run_analysis(model, request, texts, folder, on_progress=clock)
        clock.end()
    tokens = read_json(analysis.store, f"{analysis.result}/{SUMMARY}")["tokens"]
    lens_s = clock.seconds.pop("lens")
    if not lens_s:
        raise RuntimeError(
            "the analysis made no logit lens through workers.analysis.merging.logit_lens"
        )
    in_bodies = {phase: times / tokens for phase, times in clock.body_tokens.items()}
    return Whole(tokens, sum(clock.seconds.values()) + lens_s, lens_s, clock.seconds, in_bodies)


class _PhaseClock:
    """Takes `run_analysis`' progress and puts the time before each report to a phase.

    The windows are reported before the calibration, so what lies between them and the first scanned
    block is planning, with one block too many.
    """

    def __init__(self, body: Callable[[], float]) -> None:
        """body: runs it, and gives its seconds a token."""
        self.seconds = dict.fromkeys(("planning", "scanning", "merging", "closing", "lens"), 0.0)
        self.body_tokens = dict(self.seconds)  # that the body would have run in them
        self._body = body
        self._held: list[
            tuple[str, float]
        ] = []  # phases and seconds since the body's pace was last taken
        self._pace = body()  # seconds a token
        self._before = "planning"
        self._paced = self._last = time.perf_counter()

    def __call__(self, phase: str, done: int, total: int) -> None:
        # The first report of a phase comes at the end of its first step.
        self.put(self._before if phase == "scanning" and self._before == "planning" else phase)
        self._before = phase
        if self._last - self._paced > PACE_S:
            self._take_pace()

    def put(self, phase: str) -> None:
        """Gives the phase what has passed since it was last asked."""
        now = time.perf_counter()
        self._held.append((phase, now - self._last))
        self._last = now

    def end(self) -> None:
        self.put("closing")
        self._take_pace()

    def _take_pace(self) -> None:
        before, self._pace = self._pace, self._body()
        for phase, seconds in self._held:
            self.seconds[phase] += seconds
            self.body_tokens[phase] += seconds / ((before + self._pace) / 2)
        self._held = []
        self._paced = self._last = time.perf_counter()


@contextmanager
def _lens_told(clock: _PhaseClock) -> Iterator[None]:
    """Has the clock told of each logit lens made until the block ends."""
    make = merging.logit_lens

    def told(*arguments: object) -> object:
        clock.put("merging")
        found = make(*arguments)  # type: ignore[arg-type]
        clock.put("lens")
        return found

    with patch.object(merging, "logit_lens", told):
        yield


# The report


def _report(
    analysis: Analysis,
    model: LoadedModel,
    plan: Plan,
    times: Times,
    apart: list[float],
    whole: Whole,
) -> str:
    body, scan, causal = sum(times.body), sum(times.scan), sum(times.causal)
    rows = [
        _row("the body alone", body, plan.tokens, 1.0),
        _row("the scan: the body, and all that is kept", scan, plan.tokens, scan / body),
        _row("the body and the language-model head", causal, plan.tokens, causal / body),
    ]
    steady, made = whole.total_s - whole.lens_s, sum(whole.body.values())
    rows += [
        _row(
            "a whole analysis, logit lens in the store",
            steady,
            whole.tokens,
            made - whole.body["lens"],
        ),
        _row(
            "a whole analysis, logit lens made (a model's first)", whole.total_s, whole.tokens, made
        ),
    ]
    parts = [
        f"{name} {seconds:.1f} s ({whole.body[name]:.3f})" for name, seconds in whole.phases.items()
    ]
    neurons, after = (
        len(analysis.layers) * len(analysis.neurons),
        whole.body["merging"] / whole.body["scanning"],
    )
    return "\n\n".join(
        [
            "## Speed",
            f"{samples.MODEL_ID}, {model.dtype} on {model.device}, {torch.get_num_threads()} "
            f"threads (kernels: "
            f"{numba.get_num_threads()}); {neurons:,} neurons, tails "
            f"{', '.join(analysis.request.tails)}, top "
            f"{analysis.request.contexts.top_k} and a sample of "
            f"{analysis.request.contexts.sampled}; {plan.tokens:,} "
            f"tokens in {plan.windows:,} windows and {len(times.body):,} blocks.",
            table(["", "seconds", "tokens/s", "times the body"], rows),
            f"Of each block: {_spread(times.scan, times.body, 'scan/body')}; "
            f"{_spread(times.scan, times.causal, 'scan/(body and head)')}; "
            f"{_spread(times.causal, times.body, '(body and head)/body')}. In a process of its "
            f"own, whose heap is as "
            f"the system leaves it, the body takes {_quartiles(apart)} times as long "
            f"({len(apart)} blocks, {APART} "
            "processes).",
            f"The whole analysis, of {whole.tokens:,} tokens: {', '.join(parts)}, and "
            f"{whole.lens_s:.1f} s "
            f"({whole.body['lens']:.3f}) of logit lens, once a model. Merging, all senses "
            f"included, is {after:.3f} of "
            f"the scanning. In brackets: times the body for as many tokens, at its pace then, "
            f"which is taken every "
            f"{PACE_S:.0f} s and is no part of these times.",
        ]
    )


def _row(name: str, seconds: float, tokens: int, times_body: float) -> list[str]:
    return [name, f"{seconds:.2f}", f"{tokens / seconds:,.0f}", f"{times_body:.3f}"]


def _spread(these: list[float], those: list[float], name: str) -> str:
    return f"{name} {_quartiles([a / b for a, b in zip(these, those, strict=True)])}"


def _quartiles(ratios: list[float]) -> str:
    low, middle, high = quartiles(ratios)
    return f"median {middle:.3f}, quartiles {low:.3f} and {high:.3f}"
