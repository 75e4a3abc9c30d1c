"""What bfloat16 does to a result: the same analysis in float32 and in bfloat16, neuron by neuron.

The weights, the forward pass and the captured activations are in the one or the other; what is kept
of the activations is reduced in the same way.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.corpora import take_texts
from benchmarks.markdown import table
from benchmarks.sample_model import add_model_options, load_sample_model
from benchmarks.senses.metrics import rank_correlation
from polyseme.commands import samples
from polyseme.contract.files.column import CLAIMING
from polyseme.contract.files.results import NEURONS, report_file
from polyseme.contract.records.request import AnalysisRequest
from polyseme.workers.analysis.machine.threads import set_threads
from polyseme.workers.analysis.run import run_analysis

_SEEN = ("positive", "top")  # the tail and the sample that are compared


@dataclass(frozen=True, eq=False)
class TopLists:
    """The top contexts of a layer's N neurons, of all one after the other, highest first.

    C contexts.
    """

    neuron: np.ndarray  # (C,)
    window: np.ndarray  # (C,)
    position: np.ndarray  # (C,) of the peak in the window
    activation: np.ndarray  # (C,)

    @classmethod
    def read(cls, result: Path, layer: int) -> TopLists:
        """result: a folder that `run_analysis` left."""
        lists = (
            pq.read_table(result / report_file(layer), columns=["contexts"])
            .column(0)
            .combine_chunks()
        )
        fields = lists.flatten()
        neuron = np.repeat(np.arange(len(lists)), lists.value_lengths().to_numpy())
        seen = [
            fields.field(f).to_numpy(zero_copy_only=False) == v
            for f, v in zip(("tail", "sample"), _SEEN, strict=True)
        ]
        kept = np.flatnonzero(seen[0] & seen[1])
        numbers = [
            fields.field(f).to_numpy(zero_copy_only=False)[kept]
            for f in ("window", "position", "activation")
        ]
        order = np.lexsort([-numbers[2], neuron[kept]])
        return cls(neuron[kept][order], *(n[order] for n in numbers))

    def keys(self, *, with_position: bool = True) -> np.ndarray:
        """(C,) int64, a number for each neuron, window and, if asked for, peak."""
        place = self.window.astype(np.int64) << 12 | (self.position if with_position else 0)
        return self.neuron.astype(np.int64) << 44 | place


@dataclass(frozen=True, eq=False)
class Agreement:
    """How far the lists of one neuron agree, for N neurons with a list in both."""

    contexts: np.ndarray  # (N,) 0..1, of the longer list: the same window with the same peak
    windows: np.ndarray  # (N,) 0..1, the same window
    first: np.ndarray  # (N,) bool, whether the strongest context is the same
    order: (
        np.ndarray
    )  # (N,) Spearman's of the activations of the contexts in both lists; NaN below three of them


def compare(ours: TopLists, theirs: TopLists, neurons: int) -> Agreement:
    """neurons: of the layer."""
    sizes = [np.bincount(side.neuron, minlength=neurons) for side in (ours, theirs)]
    longer = np.maximum(*sizes)
    both = np.flatnonzero(np.minimum(*sizes) > 0)

    def shared(*, with_position: bool) -> np.ndarray:
        found = np.isin(
            ours.keys(with_position=with_position), theirs.keys(with_position=with_position)
        )
        share: np.ndarray = np.bincount(ours.neuron[found], minlength=neurons)[both] / longer[both]
        return share

    _, at_ours, at_theirs = np.intersect1d(ours.keys(), theirs.keys(), return_indices=True)
    first = [side.keys()[np.searchsorted(side.neuron, both)] for side in (ours, theirs)]
    return Agreement(
        contexts=shared(with_position=True),
        windows=shared(with_position=False),
        first=first[0] == first[1],
        order=np.array([_correlate(ours, theirs, at_ours, at_theirs, n) for n in both]),
    )


def _correlate(
    ours: TopLists, theirs: TopLists, at_ours: np.ndarray, at_theirs: np.ndarray, neuron: int
) -> float:
    """at_ours, at_theirs: where the contexts of both stand in each, by ascending neuron."""
    here = slice(*np.searchsorted(ours.neuron[at_ours], [neuron, neuron + 1]))
    if here.stop - here.start < 3:
        return float("nan")
    return rank_correlation(ours.activation[at_ours[here]], theirs.activation[at_theirs[here]])


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokens", type=int, default=20_000, help="tokens to run")
    parser.add_argument("--layers", default="all", help='"all", or ranges such as "0-3,14"')
    add_model_options(parser, dtype=False)


def run(options: argparse.Namespace) -> str:
    set_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="polyseme-bench-") as name:
        results = [Path(name) / dtype for dtype in ("float32", "bfloat16")]
        seconds = [_analyse(result, result.name, options) for result in results]
        scalars = [
            pq.read_table(result / NEURONS).sort_by(
                [("layer", "ascending"), ("neuron", "ascending")]
            )
            for result in results
        ]
        layers = sorted(set(scalars[0].column("layer").to_pylist()))
        neurons = scalars[0].num_rows // len(layers)
        agreements = {
            layer: compare(*(TopLists.read(result, layer) for result in results), neurons)
            for layer in layers
        }
    return "\n\n".join(
        [
            "## Precision",
            f"{samples.MODEL_ID}, layers {options.layers}, {options.tokens:,} tokens, defaults, "
            f"on {options.device}; "
            f"float32 took {seconds[0]:.0f} s, bfloat16 {seconds[1]:.0f} s. Lists of the "
            f"positive tail, means over "
            "neurons.",
            _lists(agreements),
            _scalars(*scalars),
        ]
    )


def _analyse(folder: Path, dtype: str, options: argparse.Namespace) -> float:
    """Seconds of the analysis, whose result is left in the folder."""
    model = load_sample_model(options.cache, device=options.device, dtype=dtype)
    request: dict[str, Any] = {"model": samples.MODEL_ID, "corpus": {"id": "benchmark"}}
    request |= {"neurons": {"layers": options.layers}, "tokens": {"max_tokens": options.tokens}}
    began = time.perf_counter()
    run_analysis(model, AnalysisRequest.from_dict(request), take_texts(options.tokens), folder)
    return time.perf_counter() - began


def _lists(agreements: dict[int, Agreement]) -> str:
    header = [
        "",
        "neurons",
        "same contexts",
        "same windows",
        "same strongest",
        "ρ in the list",
        "5th percentile of same contexts",
    ]
    whole = Agreement(
        *(
            np.concatenate([getattr(a, f) for a in agreements.values()])
            for f in Agreement.__annotations__
        )
    )
    rows = [(f"layer {layer}", a) for layer, a in agreements.items()]
    return table(
        header,
        [
            [
                name,
                f"{len(a.contexts):,}",
                *(f"{x.mean():.3f}" for x in (a.contexts, a.windows, a.first)),
                f"{np.nanmean(a.order):.3f}",
                f"{np.quantile(a.contexts, 0.05):.2f}",
            ]
            for name, a in [*rows, ("all", whole)]
        ],
    )


def _scalars(ours: Any, theirs: Any) -> str:
    """Of the neurons' scalars, over all neurons. ours, theirs: tables with the same rows."""
    names = ("max", "mean", "std", "density", "kurtosis", "effective_senses", "coverage")
    rows = []
    for name in names:
        a, b = (t.column(name).cast("float64").to_numpy() for t in (ours, theirs))
        known = ~np.isnan(a) & ~np.isnan(b)
        off = np.abs(a - b)[known] / np.maximum(np.abs(a[known]), 1e-12)
        rows.append(
            [
                f"`{name}`",
                f"{known.sum():,}",
                f"{rank_correlation(a[known], b[known]):.4f}",
                f"{np.median(off):.4f}",
            ]
        )
    status = [np.array(t.column("status").to_pylist()) for t in (ours, theirs)]
    scored = np.isin(status[0], CLAIMING) & np.isin(status[1], CLAIMING)
    senses = [
        t.column("sense_count").to_numpy(zero_copy_only=False)[scored] for t in (ours, theirs)
    ]
    return "\n\n".join(
        [
            table(["", "neurons", "Spearman's ρ", "median relative difference"], rows),
            f"The same status: {(status[0] == status[1]).mean():.3f} of all neurons. The same "
            f"number of senses: "
            f"{(senses[0] == senses[1]).mean():.3f} of the {scored.sum():,} scored in both.",
        ]
    )
