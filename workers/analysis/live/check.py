"""A live check: a text through a model, and its neurons' peaks beside the senses that a finished
analysis found.

Reads an analysis' result, runs the model, writes one JSON file. What a peak and its sense are is
said in `live`.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from polyseme.contract.errors import NonFiniteActivation
from polyseme.contract.files.column import NOT_FINITE
from polyseme.contract.files.results import VECTORS, report_file
from polyseme.contract.files.store import Store
from polyseme.contract.records.job import ACTIVATIONS, ActivationsRequest
from polyseme.contract.records.model_card import ModelCard
from polyseme.contract.records.request import AnalysisRequest, Tail
from polyseme.contract.records.selection import resolve_neurons
from polyseme.workers.analysis.live.peaks import (
    Crossing,
    KnownSenses,
    Peak,
    find_crossings,
    find_peaks,
    place_peaks,
)
from polyseme.workers.analysis.live.places import Places, Result, Row, place_all
from polyseme.workers.analysis.live.text_run import Run, Target, run_text
from polyseme.workers.analysis.models.encoder import LazyEncoder
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.models.nonfinite import explain_nonfinite
from polyseme.workers.analysis.reports.result_files import read_manifest
from polyseme.workers.analysis.senses.firing import FIRES
from polyseme.workers.analysis.sites.site import Site
from polyseme.workers.analysis.sites.table import SITES

_NAMED = 3  # words in the name of a sense

_OFF = "the job was submitted with senses switched off: no peak has a sense"


@dataclass(frozen=True)
class Check:
    """What is to be done.

    `source` is the folder of the analysis' result, `result` the check's own.
    """

    request: ActivationsRequest
    store: Store
    source: str
    result: str
    block_tokens: int
    encoder: LazyEncoder
    own_site: Site | None = None  # of an analysis whose units are not the model's own


def write_activations(
    check: Check, model: LoadedModel, *, should_stop: Callable[[], bool] = lambda: False
) -> int:
    """Runs the text and writes the answer. Returns the tokens run.

    Raises Cancelled, NonFiniteActivation, and AnalysisError when the analysis' result is no longer
    there.
    """
    manifest = read_manifest(check.store, check.source)
    analysed = AnalysisRequest.from_dict(manifest["request"])
    site, limits = check.own_site or SITES[analysed.neurons.site], _read_limits(manifest)
    run = run_text(model, site, analysed, check.request, limits, check.block_tokens, should_stop)
    answer = describe_run(check, model, analysed, run)
    text = json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    check.store.write(f"{check.result}/{ACTIVATIONS}", text.encode())
    return len(run.windows.ids)


def _read_limits(manifest: Mapping[str, Any]) -> dict[int, float]:
    """By layer, beyond what length of its residual stream a token did not count in the analysis."""
    limits = (manifest.get("sinks") or {}).get("limits", {})
    return {int(layer): limit for layer, limit in limits.items() if limit is not None}


@dataclass(frozen=True, eq=False)
class Reading:
    """All that a neuron's part of the answer is made of."""

    analysed: AnalysisRequest
    run: Run
    places: Places | None  # None when no peak can have a sense
    vocabulary: Sequence[str]
    top: int


def describe_run(
    check: Check, model: LoadedModel, analysed: AnalysisRequest, run: Run
) -> dict[str, Any]:
    """The answer, but for what the board knows."""
    card = model.card_with(check.own_site)
    reports = read_reports(check.store, check.source, analysed, card, check.request.neurons)
    _refuse_nonfinite(model, run, reports)
    peaks = {
        t: {tail: _peaks_of(run, t, reports[t], tail) for tail in analysed.tails} for t in reports
    }
    note = _why_senseless(check, analysed)
    tokens = np.unique(np.concatenate([at for tails in peaks.values() for at in tails.values()]))
    places = None
    if len(tokens) and note is None:
        contexts = {t: _contexts_of(report) for t, report in reports.items()}
        result = Result(check.store, check.source)
        encoder = check.encoder.find(
            read_manifest(check.store, check.source)["senses"]["encoder_sha256"]
        )
        places = place_all(result, analysed.senses, run, contexts, tokens, encoder)
    reading = Reading(analysed, run, places, model.vocabulary, check.request.top)
    return {
        "tokens": _tokens(run, model.vocabulary),
        "neurons": [
            _neuron(reading, target, report, peaks[target]) for target, report in reports.items()
        ],
        "note": note,
    }


def _refuse_nonfinite(model: LoadedModel, run: Run, reports: Mapping[Target, Row]) -> None:
    """Raises NonFiniteActivation, but for neurons of which the result says it already."""
    for (layer, neuron), report in reports.items():
        known = report["status"] == NOT_FINITE
        if not known and not np.isfinite(run.activations[layer, neuron]).all():
            raise NonFiniteActivation(
                f"layer {layer}, neuron {neuron}: an activation in this text is not finite. "
                f"{explain_nonfinite(model)}"
            )


def _why_senseless(check: Check, analysed: AnalysisRequest) -> str | None:
    """Why no peak can have a sense; None when peaks can."""
    if not analysed.senses.enabled or not check.store.exists(f"{check.source}/{VECTORS}"):
        return _OFF
    return None


def read_reports(
    store: Store, source: str, analysed: AnalysisRequest, card: ModelCard, targets: Sequence[Target]
) -> dict[Target, Row]:
    """The targets' report rows, in their order.

    Opens no more of a file than the row groups that hold them.
    """
    units = card.site(analysed.neurons.site).units
    neurons = resolve_neurons(analysed.neurons.indices, units, card.id)
    chosen = {n: i for i, n in enumerate(neurons)}
    reports: dict[Target, Row] = {}
    for layer in sorted({layer for layer, _ in targets}):
        with store.open(f"{source}/{report_file(layer)}") as f:
            file = pq.ParquetFile(f)
            rows = file.metadata.row_group(0).num_rows
            groups = sorted({chosen[n] // rows for at, n in targets if at == layer})
            table = file.read_row_groups(groups, _COLUMNS)
        reports |= {
            (layer, row["neuron"]): row
            for row in table.to_pylist()
            if (layer, row["neuron"]) in targets
        }
    return {target: reports[target] for target in targets}


_COLUMNS = ["neuron", "hook", "status", "min", "max", "contexts", "evidence"]


def _contexts_of(report: Row) -> list[Row]:
    """All of them, those that are shown first."""
    return [*report["contexts"], *report["evidence"]]


def _threshold(report: Row, tail: Tail) -> float | None:
    """Above what size the tail fires; None when it never did, or when nothing is known of it."""
    if report["status"] == NOT_FINITE:
        return None
    most = report["max"] if tail == "positive" else -report["min"]
    return FIRES * most if most > 0 else None


def _peaks_of(run: Run, target: Target, report: Row, tail: Tail) -> np.ndarray:
    """The tokens at which one tail of a neuron peaks."""
    threshold = _threshold(report, tail)
    strength = run.activations[target] * (1 if tail == "positive" else -1)
    peaks = find_peaks(
        strength[:, None],
        run.counted(target[0]),
        run.windows.offsets,
        np.array([np.inf if threshold is None else threshold]),
    )
    return np.flatnonzero(peaks[:, 0])


def _neuron(
    reading: Reading, target: Target, report: Row, at: Mapping[Tail, np.ndarray]
) -> dict[str, Any]:
    """at: the tokens of the peaks of each tail that was asked for."""
    peaks, crossings = _judge(reading, target, report, at)
    names = _names(report, reading.vocabulary)
    low = _threshold(report, "negative") if "negative" in at else None
    return {
        "layer": target[0],
        "neuron": target[1],
        "hook": report["hook"],
        "activations": _activations(reading.run, target),
        "threshold": {
            "positive": _threshold(report, "positive"),
            "negative": None if low is None else -low,
        },
        "peaks": [
            asdict(p) | {"name": None if p.sense is None else names[p.tail, p.sense]}
            for p in _strongest(peaks, reading.top)
        ],
        "cross_activations": [
            asdict(c) | {"names": [names[c.tail, sense] for sense in c.senses]} for c in crossings
        ],
    }


def _judge(
    reading: Reading, target: Target, report: Row, at: Mapping[Tail, np.ndarray]
) -> tuple[list[Peak], list[Crossing]]:
    peaks: list[Peak] = []
    crossings: list[Crossing] = []
    for tail, tokens in at.items():
        known, rows = None, np.zeros(len(tokens), np.int64)
        if (places := reading.places) is not None:
            known = _known_senses(places, target, report, tail, reading.analysed.senses.same_at)
            rows = np.array([places.peaks[t] for t in tokens.tolist()], np.int64)
        placed = place_peaks(tokens, tail, reading.run.activations[target][tokens], rows, known)
        crossings += find_crossings(placed, tail, known)
        peaks += placed
    return peaks, crossings


def _known_senses(
    places: Places, target: Target, report: Row, tail: Tail, same_at: float
) -> KnownSenses:
    sense = [
        c["sense"] if c["tail"] == tail and c["sense"] is not None else -1
        for c in _contexts_of(report)
    ]
    rows = places.contexts[target]
    return KnownSenses.of(places.material, rows, np.array(sense, np.int64), same_at)


def _strongest(peaks: Sequence[Peak], top: int) -> list[Peak]:
    kept = sorted(peaks, key=lambda p: (-abs(p.activation), p.token))[:top]
    return sorted(kept, key=lambda p: p.token)


def _activations(run: Run, target: Target) -> list[float | None]:
    values: list[float] = run.activations[target].tolist()
    return [
        v if counts and math.isfinite(v) else None
        for v, counts in zip(values, run.counted(target[0]).tolist(), strict=True)
    ]


def _tokens(run: Run, vocabulary: Sequence[str]) -> list[dict[str, Any]]:
    w = run.windows
    window = np.repeat(np.arange(len(w)), w.lengths)
    columns = [c.tolist() for c in (w.ids, w.starts, w.ends, run.special, window)]
    return [
        {
            "token": vocabulary[i],
            "token_id": i,
            "char_span": None if special else [start, end],
            "window": number,
        }
        for i, start, end, special, number in zip(*columns, strict=True)
    ]


def _at_peak(context: Row, vocabulary: Sequence[str]) -> str:
    """What the document says there, or the name of a token that stands for nothing in it, or whose
    text is not shown.
    """
    if "text" not in context:
        return vocabulary[context["token"]]
    if context["peak_start"] is None:
        return vocabulary[context["tokens"][context["position"] - context["display_start"]]]
    text: str = context["text"][context["peak_start"] : context["peak_end"]]
    return text


def _names(report: Row, vocabulary: Sequence[str]) -> dict[tuple[Tail, int], str]:
    """Of each sense the commonest words at its peaks; case and the space before a word do not
    matter.
    """
    words: dict[tuple[Tail, int], Counter[str]] = defaultdict(Counter)
    for c in _contexts_of(report):
        if c["sense"] is not None:
            text = _at_peak(c, vocabulary)
            words[c["tail"], c["sense"]][text.strip().casefold() or text] += 1
    return {
        key: ", ".join(word for word, _ in found.most_common(_NAMED))
        for key, found in words.items()
    }
