"""A live check: a text through a model, and its neurons' peaks beside the senses that a finished analysis found.

Reads an analysis' result, runs the model, writes one JSON file. What a peak and its sense are is said in `live`.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from contract.errors import AnalysisError, Cancelled, NonFiniteActivation
from contract.records import ACTIVATIONS, ActivationsRequest, ModelCard
from contract.request import AnalysisRequest, Tail
from contract.results import BACKGROUND, FORMAT, MANIFEST, REPORT_ROWS, VECTORS, report_file
from contract.selection import resolve_neurons
from contract.store import Store
from workers.analysis.background import NEAR
from workers.analysis.capture import Taps, reference_layers, run_block
from workers.analysis.contexts import ContextTable
from workers.analysis.encoder import LazyEncoder
from workers.analysis.firing import FIRES
from workers.analysis.framing import frame, tokenize
from workers.analysis.grouping import Background, Peaks, Sources, layer_space
from workers.analysis.live import Crossing, KnownSenses, Peak, find_crossings, find_peaks, place_peaks
from workers.analysis.model import LoadedModel
from workers.analysis.plan import cut_windows, group_blocks
from workers.analysis.result import read_vector_file
from workers.analysis.scan import Block
from workers.analysis.spaces import Space
from workers.analysis.windows import Window, Windows, pack, unpack

_LIVE = 1 << 30  # added to a window's number so that it is none of the corpus'
_NAMED = 3  # words in the name of a sense

_OFF = "the job was submitted with senses switched off: no peak has a sense"
_NOT_STORED = "the vectors of a job with `neuron` vectors are not stored: no peak has a sense"

Row = Mapping[str, Any]
Target = tuple[int, int]  # layer, neuron


@dataclass(frozen=True)
class Check:
    """What is to be done. `source` is the folder of the analysis' result, `result` the check's own."""

    request: ActivationsRequest
    store: Store
    source: str
    result: str
    block_tokens: int
    encoder: LazyEncoder


@dataclass(frozen=True, eq=False)
class Run:
    """What the model made of the text. T tokens, in their order, special ones included."""

    windows: Windows
    special: np.ndarray  # (T,) bool: put around the text, not part of it
    activations: Mapping[Target, np.ndarray]  # (T,) float32
    residual: np.ndarray  # (T, K * D) float16, of K reference layers, as vectors are stored


def write_activations(check: Check, model: LoadedModel, *, should_stop: Callable[[], bool] = lambda: False) -> int:
    """Runs the text and writes the answer. Returns the tokens run.

    Raises Cancelled, NonFiniteActivation, and AnalysisError when the analysis' result is no longer there.
    """
    analysed = read_request(check.store, check.source)
    run = run_text(model, analysed, check.request, check.block_tokens, should_stop)
    answer = describe_run(check, model, analysed, run)
    text = json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    check.store.write(f"{check.result}/{ACTIVATIONS}", text.encode())
    return len(run.windows.ids)


def read_request(store: Store, source: str) -> AnalysisRequest:
    """What was asked of the analysis whose result lies in `source`."""
    try:
        manifest = json.loads(store.read(f"{source}/{MANIFEST}"))
    except FileNotFoundError as e:
        raise AnalysisError("the result that the text was to be read against is no longer there") from e
    if manifest["format"] != FORMAT:
        raise AnalysisError(f"the result is of format {manifest['format']}; this version reads {FORMAT}")
    return AnalysisRequest.from_dict(manifest["request"])


def run_text(
    model: LoadedModel,
    analysed: AnalysisRequest,
    request: ActivationsRequest,
    block_tokens: int,
    should_stop: Callable[[], bool],
) -> Run:
    """The text is cut as one document of the analysis, in windows of its size and with its special tokens."""
    framing = frame(model.tokenizer, model.card, analysed.tokens.bos)
    windows = list(
        cut_windows(
            [request.text],
            lambda batch: tokenize(model.tokenizer, batch),
            framing,
            replace(analysed.contexts, packing="document"),
            replace(analysed.tokens, max_tokens=None),
        )
    )
    if not windows:
        raise AnalysisError("the text gives no token that counts: it is blank, or every position is excluded")
    offsets = np.concatenate([[0], np.cumsum([len(w) for w in windows])])
    kept: dict[Target, np.ndarray] = {t: np.zeros(offsets[-1], np.float32) for t in request.neurons}
    references = reference_layers(model.card.layers)
    residual = np.zeros((offsets[-1], len(references), model.card.hidden_size), np.float16)
    for block in group_blocks(windows, block_tokens):
        if should_stop():
            raise Cancelled
        _run_block(model, block, framing.pad, offsets, kept, residual)
    joined = unpack(pack(windows))
    special = np.isin(joined.ids, sorted(framing.special))
    return Run(joined, special, kept, residual.reshape(len(residual), -1))


def _run_block(
    model: LoadedModel,
    windows: Sequence[Window],
    pad: int,
    offsets: np.ndarray,
    kept: Mapping[Target, np.ndarray],
    residual: np.ndarray,
) -> None:
    """Fills in what these windows give. offsets: of all windows in the text's tokens; residual: (T, K, D)."""
    block = Block(unpack(pack(windows)), 0, pad, model.device)
    references = reference_layers(model.card.layers)
    at = np.concatenate([np.arange(offsets[w.number], offsets[w.number + 1]) for w in windows])
    wanted: dict[int, list[int]] = defaultdict(list)
    for layer, neuron in kept:
        wanted[layer].append(neuron)

    def receive(layer: int, activations: Tensor) -> None:
        index = torch.tensor(wanted[layer], device=activations.device)
        found = activations.index_select(-1, index)[block.inside].float().cpu().numpy()
        if not np.isfinite(found).all():
            raise NonFiniteActivation("an activation is not finite: try another dtype for this model")
        for neuron, column in zip(wanted[layer], found.T, strict=True):
            kept[layer, neuron][at] = column

    def keep(layer: int, hidden: Tensor) -> None:
        residual[at, references.index(layer)] = level(hidden[block.inside]).cpu().numpy()

    mask = block.inside.to(torch.int64) if model.card.kind == "encoder" else None
    run_block(model, block.ids, mask, list(wanted), receive, Taps(residual=keep))


def level(hidden: Tensor) -> Tensor:
    """Vectors at root mean square 1, float32, as a scan stores them. hidden: (T, D)."""
    wide = hidden.float()
    return wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-12)


def describe_run(check: Check, model: LoadedModel, analysed: AnalysisRequest, run: Run) -> dict[str, Any]:
    """The answer, but for what the board knows."""
    reports = read_reports(check.store, check.source, analysed, model.card, check.request.neurons)
    peaks = {t: {tail: _peaks_of(run, t, reports[t], tail) for tail in analysed.tails} for t in reports}
    note = _why_senseless(check, analysed)
    fired = any(len(tokens) for tails in peaks.values() for tokens in tails.values())
    places = _place(check, model, analysed, run, reports, peaks) if fired and note is None else None
    return {
        "tokens": _tokens(run, model.vocabulary),
        "neurons": [
            _neuron(check, model, analysed, run, target, report, peaks[target], places)
            for target, report in reports.items()
        ],
        "note": note,
    }


def _why_senseless(check: Check, analysed: AnalysisRequest) -> str | None:
    """Why no peak can have a sense; None when peaks can."""
    if not analysed.senses.enabled or not check.store.exists(f"{check.source}/{VECTORS}"):
        return _OFF
    return _NOT_STORED if analysed.senses.vectors == "neuron" else None


def read_reports(
    store: Store, source: str, analysed: AnalysisRequest, card: ModelCard, targets: Sequence[Target]
) -> dict[Target, Row]:
    """The targets' report rows, in their order. Opens no more of a file than the row groups that hold them."""
    chosen = {n: i for i, n in enumerate(resolve_neurons(analysed.neurons.indices, card.neurons, card.id))}
    found: dict[Target, Row] = {}
    for layer in sorted({layer for layer, _ in targets}):
        groups = sorted({chosen[n] // REPORT_ROWS for at, n in targets if at == layer})
        with store.open(f"{source}/{report_file(layer)}") as f:
            table = pq.ParquetFile(f).read_row_groups(groups, _COLUMNS)
        found |= {(layer, row["neuron"]): row for row in table.to_pylist() if (layer, row["neuron"]) in targets}
    return {target: found[target] for target in targets}


_COLUMNS = ["neuron", "hook", "min", "max", "contexts"]


def _threshold(report: Row, tail: Tail) -> float | None:
    """Above what size the tail fires; None when it never did."""
    most = report["max"] if tail == "positive" else -report["min"]
    return FIRES * most if most > 0 else None


def _peaks_of(run: Run, target: Target, report: Row, tail: Tail) -> np.ndarray:
    """The tokens at which one tail of a neuron peaks."""
    threshold = _threshold(report, tail)
    strength = run.activations[target] * (1 if tail == "positive" else -1)
    found = find_peaks(
        strength[:, None],
        run.windows.counted,
        run.windows.offsets,
        np.array([np.inf if threshold is None else threshold]),
    )
    return np.flatnonzero(found[:, 0])


@dataclass(frozen=True, eq=False)
class Places:
    """A space that holds the vectors of all contexts and of all peaks."""

    space: Space
    contexts: Mapping[Target, np.ndarray]  # of each report's contexts, their rows in the space
    peaks: Mapping[int, int]  # row in the space by token


def _place(
    check: Check,
    model: LoadedModel,
    analysed: AnalysisRequest,
    run: Run,
    reports: Mapping[Target, Row],
    peaks: Mapping[Target, Mapping[Tail, np.ndarray]],
) -> Places:
    tokens = np.unique(np.concatenate([at for tails in peaks.values() for at in tails.values()])).astype(np.int64)
    rows = [c for report in reports.values() for c in report["contexts"]] + [_context_at(run, t) for t in tokens]
    table = make_table(rows)
    unique = Peaks.of(table)
    sources = Sources(
        stream=lambda _: _vectors(check, run, unique),
        energy=_no_energy,
        vocabulary=lambda: model.vocabulary,
        encoder=check.encoder.get,
    )
    background = Background.read(check.store, f"{check.source}/{BACKGROUND}")
    space = layer_space(analysed.senses, background, table, unique, sources)
    ends = np.cumsum([0, *(len(report["contexts"]) for report in reports.values())])
    return Places(
        space=space,
        contexts={t: unique.place[a:b] for t, a, b in zip(reports, ends[:-1], ends[1:], strict=True)},
        peaks=dict(zip(tokens.tolist(), unique.place[ends[-1] :].tolist(), strict=True)),
    )


def _no_energy() -> np.ndarray:
    raise AnalysisError(_NOT_STORED)


def _context_at(run: Run, token: int) -> dict[str, Any]:
    """A token of the text as if it were the peak of a context, as far as spaces look at one."""
    offsets = run.windows.offsets
    window = int(np.searchsorted(offsets, token, "right")) - 1
    first, end = max(token - NEAR, offsets[window]), min(token + NEAR + 1, offsets[window + 1])
    return {
        "window": _LIVE + window,
        "position": token - offsets[window],
        "display_start": first - offsets[window],
        "tokens": run.windows.ids[first:end].tolist(),
    }


def make_table(rows: Sequence[Row]) -> ContextTable:
    """Contexts by place and tokens alone; what is not known of some is zero."""
    lengths = [len(row["tokens"]) for row in rows]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    column = {n: np.array([row[n] for row in rows], np.int64) for n in ("window", "position", "display_start")}
    tokens = np.fromiter((t for row in rows for t in row["tokens"]), np.int32, offsets[-1])
    unknown = np.zeros(len(rows), np.int64)
    blank = dict.fromkeys(("neuron", "band", "document", "char_start", "char_end", "activation"), unknown)
    return ContextTable(
        **blank,
        **column,
        tail=np.full(len(rows), "positive"),
        sample=np.full(len(rows), "top"),
        peak_token=tokens[offsets[:-1] + column["position"] - column["display_start"]],
        display_offsets=offsets,
        tokens=tokens,
        activations=np.zeros(len(tokens), np.float32),
    )


def _vectors(check: Check, run: Run, unique: Peaks) -> tuple[np.ndarray, np.ndarray]:
    """The residual vectors at places of the corpus and of the text, (U, D) float16; the background has random ones."""
    keys = unique.window << 32 | unique.position
    vectors = np.zeros((len(keys), run.residual.shape[1]), np.float16)
    live = unique.window >= _LIVE
    vectors[live] = run.residual[run.windows.offsets[unique.window[live] - _LIVE] + unique.position[live]]
    for window, position, stored in read_vector_file(check.store, check.source):
        own = window.astype(np.int64) << 32 | position
        place = np.searchsorted(keys, own).clip(max=len(keys) - 1)
        wanted = keys[place] == own
        vectors[place[wanted]] = stored[wanted]
    return vectors, vectors[:0]


def _neuron(
    check: Check,
    model: LoadedModel,
    analysed: AnalysisRequest,
    run: Run,
    target: Target,
    report: Row,
    at: Mapping[Tail, np.ndarray],
    places: Places | None,
) -> dict[str, Any]:
    found: list[Peak] = []
    crossings: list[Crossing] = []
    for tail, tokens in at.items():
        known, vectors = None, np.zeros((len(tokens), 0))
        if places is not None:
            known = _known_senses(places, target, report, tail, analysed.senses.alpha)
            vectors = places.space.vectors[[places.peaks[t] for t in tokens.tolist()]]
        peaks = place_peaks(tokens, tail, run.activations[target][tokens], vectors, known)
        crossings += find_crossings(peaks, tail, known)
        found += peaks
    names = _names(report, model.vocabulary)
    negative = _threshold(report, "negative") if "negative" in at else None
    return {
        "layer": target[0],
        "neuron": target[1],
        "hook": report["hook"],
        "activations": _activations(run, target),
        "threshold": {
            "positive": _threshold(report, "positive"),
            "negative": None if negative is None else -negative,
        },
        "peaks": [
            asdict(p) | {"name": None if p.sense is None else names[p.tail, p.sense]}
            for p in _strongest(found, check.request.top)
        ],
        "cross_activations": [asdict(c) | {"names": [names[c.tail, sense] for sense in c.senses]} for c in crossings],
    }


def _known_senses(places: Places, target: Target, report: Row, tail: Tail, alpha: float) -> KnownSenses:
    sense = [c["sense"] if c["tail"] == tail and c["sense"] is not None else -1 for c in report["contexts"]]
    vectors = places.space.vectors[places.contexts[target]]
    return KnownSenses.of(vectors, np.array(sense, np.int64), alpha, places.space.scales[0])


def _strongest(peaks: Sequence[Peak], top: int) -> list[Peak]:
    kept = sorted(peaks, key=lambda p: (-abs(p.activation), p.token))[:top]
    return sorted(kept, key=lambda p: p.token)


def _activations(run: Run, target: Target) -> list[float | None]:
    values: list[float] = run.activations[target].tolist()
    return [v if counts else None for v, counts in zip(values, run.windows.counted.tolist(), strict=True)]


def _tokens(run: Run, vocabulary: Sequence[str]) -> list[dict[str, Any]]:
    w = run.windows
    window = np.repeat(np.arange(len(w)), w.lengths)
    columns = [c.tolist() for c in (w.ids, w.starts, w.ends, run.special, window)]
    return [
        {"token": vocabulary[i], "token_id": i, "char_span": None if special else [start, end], "window": number}
        for i, start, end, special, number in zip(*columns, strict=True)
    ]


def _names(report: Row, vocabulary: Sequence[str]) -> dict[tuple[Tail, int], str]:
    """Of each sense the commonest words at its peaks; case and the space before a word do not matter."""
    words: dict[tuple[Tail, int], Counter[str]] = defaultdict(Counter)
    for c in report["contexts"]:
        if c["sense"] is not None:
            text = vocabulary[c["tokens"][c["position"] - c["display_start"]]]
            words[c["tail"], c["sense"]][text.strip().casefold() or text] += 1
    return {key: ", ".join(word for word, _ in found.most_common(_NAMED)) for key, found in words.items()}
