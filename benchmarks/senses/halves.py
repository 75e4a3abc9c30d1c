"""Does a unit get the same score from another half of the corpus, and do its senses come again?

Two halves share no document. A sense comes again when some sense of the same unit in the other half
is near enough to have been one with it: when the mean chance that two of their contexts mean the
same is as large as a job asks of two groups. Senses of another unit say how often that is chance.
With --fit the coefficients of `polyseme.workers.analysis.senses.replication` are fitted.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.markdown import table
from benchmarks.senses.brown import read_documents
from benchmarks.senses.logistic import calibration_error, fit_logistic
from benchmarks.senses.material import Corpus, read_corpus
from benchmarks.senses.metrics import auroc, rank_correlation
from benchmarks.senses.passages import (
    draw_passages,
    read_passages,
    split_documents,
    write_passages,
)
from benchmarks.senses.scans import UNITS, Scores, scan_texts
from polyseme.contract.files.results import SURE, ghosts_file, report_file
from polyseme.contract.records.request import Contexts, Senses
from polyseme.workers.analysis.senses.grouping import LOOSER
from polyseme.workers.analysis.senses.material import Material
from polyseme.workers.analysis.senses.replication import make_columns, predict_replication

LAYERS = (4, 12, 20)
WORDS = 38_500  # of each half: about 50,000 tokens
SHIFT = 17  # to the other unit whose senses are compared for chance
_QUICK_WORDS, _QUICK_UNITS = 3_000, 32
_PASSAGES = "passages.jsonl"
_SAME_AT = Senses().same_at


@dataclass(frozen=True, eq=False)
class Held:
    """The contexts of one unit in one half, those with a positive activation. n of them."""

    place: np.ndarray  # (n,) into the material
    mass: np.ndarray  # (n,) activations
    sense: np.ndarray  # (n,) negative for none


@dataclass(frozen=True, eq=False)
class Found:
    """Senses of the first half. M of them; features as `predict_replication` takes them."""

    share: np.ndarray  # (M,) 0..1, of the activation of all contexts
    size: np.ndarray
    within: np.ndarray
    words: np.ndarray
    again: np.ndarray  # (M,) bool: in the other half of the same unit
    by_chance: np.ndarray  # (M,) bool: in the other half of another unit

    @property
    def features(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in ("share", "size", "within", "words")}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="for the results")
    parser.add_argument("--brown", type=Path, help="the corpus' folder")
    parser.add_argument(
        "--model", type=Path, required=True, help="a folder with SmolLM2-135M as safetensors"
    )
    parser.add_argument("--words", type=int, default=WORDS, help="of each half")
    parser.add_argument("--layers", type=int, nargs="+", default=LAYERS)
    parser.add_argument("--units", type=int, default=UNITS, help="of a layer")
    parser.add_argument("--seed", type=int, default=0, help="of the halves")
    parser.add_argument("--top-k", type=int, default=Contexts.top_k)
    parser.add_argument("--sampled", type=int, default=Contexts.sampled)
    parser.add_argument(
        "--score", type=Path, nargs=2, help="two folders of --out; nothing is analysed"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--fit", action="store_true", help="fit the coefficients to these senses")
    parser.add_argument("--quick", action="store_true", help="one layer, little text, few units")


def run(options: argparse.Namespace) -> str:
    if options.quick:
        options.words, options.units = _QUICK_WORDS, _QUICK_UNITS
        options.layers = options.layers[:1]
    first, second = options.score or analyse(options)
    found = {False: find_again(first, second, options, False)}
    found[True] = find_again(first, second, options, True)
    if options.fit:
        return f"## Replication\n\n{_fitted(_join([*found.values()]))}"
    return "\n\n".join(
        [f"## Two halves\n\n{first}\n{second}", _scores(first, second), _replication(found)]
    )


def analyse(options: argparse.Namespace) -> tuple[Path, Path]:
    """Scans both halves and gives the folders of the results, with the passages in them."""
    contexts = Contexts(top_k=options.top_k, sampled=options.sampled)
    halves = split_documents(list(read_documents(options.brown)), options.seed)
    name = f"{options.words}-{options.units}-{contexts.top_k}-{contexts.sampled}-{options.seed}"
    made = []
    for i, half in enumerate(halves):
        passages = draw_passages(half, options.words, options.seed)
        folder = options.out / f"{name}-{i}"
        folder.mkdir(parents=True, exist_ok=True)
        scan_texts(
            options.model,
            [p.text for p in passages],
            options.layers,
            folder,
            contexts,
            options.units,
        )
        write_passages(folder / _PASSAGES, passages)
        made.append(folder)
    return made[0], made[1]


# Scores


def _scores(first: Path, second: Path) -> str:
    header = [
        "",
        "units",
        "scored in both",
        "ρ polysemanticity",
        "ρ sense count",
        "same count",
        "same status",
        "other score in the interval",
        "ρ coverage",
    ]
    rows = []
    for kind, controls in (("units", False), ("control units", True)):
        one, other = (Scores.read(half, controls=controls) for half in (first, second))
        for layer in sorted(set(one.layer.tolist())):
            own = one.layer == layer
            rows.append([f"layer {layer}, {kind}", *row(one.take(own), other.take(own))])
        rows.append([f"all {kind}", *row(one, other)])
    return table(header, rows)


def row(one: Scores, other: Scores) -> list[str]:
    """The figures but the status' are of the units with a score in both halves."""
    both = ~np.isnan(one.polysemanticity) & ~np.isnan(other.polysemanticity)
    a, b = one.take(both), other.take(both)
    inside = (a.polysemanticity_low <= b.polysemanticity) & (
        b.polysemanticity <= a.polysemanticity_high
    )
    figures = [
        rank_correlation(a.polysemanticity, b.polysemanticity),
        rank_correlation(a.sense_count, b.sense_count),
        _mean(a.sense_count == b.sense_count),
        _mean(one.status == other.status),
        _mean(inside),
        rank_correlation(a.coverage, b.coverage),
    ]
    return [str(len(both)), str(both.sum()), *map(_number, figures)]


# Senses


def find_again(first: Path, second: Path, options: argparse.Namespace, controls: bool) -> Found:
    """Of the senses of the first half whether the second has them. controls: of control units."""
    passages = [read_passages(half / _PASSAGES) for half in (first, second)]
    corpus = read_corpus([*passages[0], *passages[1]], options.model, options.device, shortest=1)
    layers = sorted(set(Scores.read(first).layer.tolist()))
    return _join(
        [
            _find_in_layer(corpus, first, second, len(passages[0]), layer, controls)
            for layer in layers
        ]
    )


def _find_in_layer(
    corpus: Corpus, first: Path, second: Path, documents: int, layer: int, controls: bool
) -> Found:
    """documents: of the first half, which stand before the second's in the corpus."""
    rows = [read_contexts(half, layer, controls) for half in (first, second)]
    document, end = (
        np.array(
            [c[name] + (i and name == "document" and documents) for i, half in enumerate(rows)
             for unit in half for c in unit],
            np.int64,
        )
        for name in ("document", "char_end")
    )  # fmt: skip
    row, position = locate(corpus, document, end)
    keys, place = np.unique(row << 32 | position, return_inverse=True)
    row, position = keys >> 32, keys & 0xFFFF_FFFF
    material = corpus.run(row, position, None).compare(row, position)
    held = list(_hold(rows[0] + rows[1], place))
    return compare_halves(material, held[: len(rows[0])], held[len(rows[0]) :])


def read_contexts(result: Path, layer: int, controls: bool) -> list[list[dict[str, Any]]]:
    """Of each unit of a layer, by number: its contexts of the positive tail, shown or not."""
    file, number = (ghosts_file(layer), "ghost") if controls else (report_file(layer), "neuron")
    columns = ["evidence"] if controls else ["contexts", "evidence"]
    found = pq.read_table(result / file, columns=[number, *columns]).sort_by(number).to_pylist()
    return [
        [
            c
            for name in columns
            for c in unit[name]
            if c["tail"] == "positive" and c["activation"] > 0
        ]
        for unit in found
    ]


def locate(corpus: Corpus, document: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and positions in the windows of the tokens that end there, (n,) each."""
    windows = corpus.windows
    keys = windows.document[:, None].astype(np.int64) << 32 | windows.end
    keys[windows.ids < 0] = -1
    known, first = np.unique(keys, return_index=True)
    at = first[np.searchsorted(known, document << 32 | end)]
    return at // keys.shape[1], at % keys.shape[1]


def _hold(units: Sequence[Sequence[dict[str, Any]]], place: np.ndarray) -> Iterator[Held]:
    first = 0
    for unit in units:
        own = place[first : first + len(unit)]
        mass = np.array([c["activation"] for c in unit], np.float64)
        sense = np.array([-1 if c["sense"] is None else c["sense"] for c in unit], np.int64)
        yield Held(own, mass, sense)
        first += len(unit)


def compare_halves(material: Material, first: Sequence[Held], second: Sequence[Held]) -> Found:
    columns: dict[str, list[float]] = {name: [] for name in Found.__dataclass_fields__}
    for i, own in enumerate(first):
        for sense in range(own.sense.max(initial=-1) + 1):
            inside = own.place[own.sense == sense]
            size = len(inside)
            chances = material.chances(inside, inside)
            within = (chances.sum() - size) / max(size * (size - 1), 1)
            columns["share"].append(own.mass[own.sense == sense].sum() / own.mass.sum())
            columns["size"].append(size)
            columns["within"].append(within)
            columns["words"].append(len(np.unique(material.word[inside])))
            for name, other in (("again", i), ("by_chance", (i + SHIFT) % len(first))):
                columns[name].append(comes_again(material, inside, within, second[other]))
    types = {"again": bool, "by_chance": bool}
    return Found(**{n: np.array(c, types.get(n, float)) for n, c in columns.items()})


def comes_again(material: Material, inside: np.ndarray, within: float, other: Held) -> bool:
    """Whether a sense of the other half would have been joined to these contexts."""
    least = _SAME_AT * max(1.0, LOOSER * within)
    return any(
        material.chances(inside, other.place[other.sense == sense]).mean() >= least
        for sense in range(other.sense.max(initial=-1) + 1)
    )


def _join(parts: Sequence[Found]) -> Found:
    return Found(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in vars(parts[0])})


# The tables


def _replication(found: dict[bool, Found]) -> str:
    rows = []
    for controls, senses in found.items():
        told = predict_replication(**senses.features)
        for name, own in (("sure", told >= SURE), ("tentative", told < SURE)):
            figures = [_mean(x[own]) for x in (senses.again, told, senses.by_chance)]
            unit = "control units" if controls else "units"
            rows.append([f"{name}, {unit}", str(own.sum()), *map(_number, figures)])
    every = _join(list(found.values()))
    told = predict_replication(**every.features)
    area, error = auroc(told[every.again], told[~every.again]), calibration_error(told, every.again)
    header = ["senses", "how many", "come again", "predicted", "in another unit"]
    reliable = (
        f"The prediction: AUROC {_number(area)}, expected calibration error {_number(error)}."
    )
    return f"{table(header, rows)}\n\n{reliable}"


def _fitted(found: Found) -> str:
    fitted = fit_logistic(make_columns(**found.features), found.again)
    header = ["senses", "1", "ln share", "ln size", "within", "ln words"]
    return table(header, [[str(len(found.size)), *(f"{x:.2f}" for x in fitted)]])


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"
