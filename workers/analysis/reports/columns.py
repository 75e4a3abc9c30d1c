"""A layer's neurons as columns, in the schemas of `polyseme.contract.files.results`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polyseme.contract.files.column import NOT_FINITE, negative
from polyseme.contract.files.results import (
    BAND,
    CONTEXT,
    EVIDENCE_CONTEXTS,
    EVIDENCE_ENTRY,
    GHOST_CONTEXTS,
    LOGIT,
    MERGE,
    PEAK_TOKEN,
    REPORTS,
    SCALARS,
    SCORES,
    SENSE,
    SENSE_TOKEN,
)
from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.contexts.choose import ContextTable, take_shown
from polyseme.workers.analysis.contexts.peak_tokens import PeakTokens
from polyseme.workers.analysis.contexts.surfaces import Surfaces
from polyseme.workers.analysis.models.lens import Lens
from polyseme.workers.analysis.reports.words import list_languages, meaning_columns
from polyseme.workers.analysis.scan.layer_scan import LayerScan
from polyseme.workers.analysis.scan.statistics.histogram import density, quantiles
from polyseme.workers.analysis.senses.layer_senses import LayerSenses
from polyseme.workers.analysis.senses.records import TailSenses
from polyseme.workers.analysis.sentences.wording import TailWords


@dataclass(frozen=True, eq=False)
class LayerResult:
    """All that is known of a layer's selected neurons. N of them."""

    layer: int
    neurons: np.ndarray  # (N,) int32, their indices in the layer
    hook: str
    scan: LayerScan
    contexts: ContextTable
    surfaces: Surfaces | None  # of those that are shown; None where no report is made
    context_offsets: np.ndarray  # (N + 1,)
    near_duplicates: np.ndarray  # (N,) of the positive tail
    peak_tokens: PeakTokens
    peak_texts: list[list[str]]  # (N,)
    senses: LayerSenses | None
    words: Mapping[Tail, TailWords]  # empty where no report is made
    lens: Lens | None
    decoder_norm: np.ndarray | None  # (N,); None but for latents of a dictionary with a decoder
    vocabulary: Sequence[str]

    @property
    def nonfinite(self) -> np.ndarray:
        """(N,) bool: of these neurons nothing is known but their lens."""
        return self.scan.statistics.nonfinite.numpy().astype(bool)


def layer_scalars(result: LayerResult) -> pa.Table:
    """One row a neuron, in the schema SCALARS."""
    n, nonfinite = len(result.neurons), result.nonfinite
    counts = result.scan.statistics.histogram.counts.numpy()
    evidence = _evidence(result)
    tokens = result.peak_tokens
    first = tokens.offsets[:-1].clip(max=max(len(tokens.token) - 1, 0))
    has_peak = np.diff(tokens.offsets) > 0
    common = [
        result.vocabulary[t] if has else None
        for t, has in zip(_at(tokens.token, first), has_peak, strict=True)
    ]
    moments = result.scan.statistics.moments.compute()
    flat = nonfinite | ~(moments["std"] > 0)
    columns: dict[str, Any] = {
        "layer": np.full(n, result.layer, np.int32),
        "neuron": result.neurons.astype(np.int32),
        "hook": pa.array([result.hook] * n),
        **score_columns(result.senses, evidence["distinct"], nonfinite),
        **meaning_columns(result.words, n),
        "n_tokens": np.full(n, result.scan.statistics.moments.count, np.int64),
        "density": pa.array(density(counts), mask=nonfinite),
        "mean": pa.array(moments["mean"], mask=nonfinite),
        "std": pa.array(moments["std"], mask=nonfinite),
        "skewness": pa.array(moments["skewness"], mask=flat),
        "kurtosis": pa.array(moments["kurtosis"], mask=flat),
        "min": pa.array(result.scan.statistics.low.numpy(), mask=nonfinite),
        "max": pa.array(result.scan.statistics.high.numpy(), mask=nonfinite),
        "top_contexts": evidence["top"],
        "sampled_contexts": evidence["sampled"],
        "distinct_contexts": evidence["distinct"],
        "near_duplicates": result.near_duplicates.astype(np.int32),
        "peak_token": pa.array(common, pa.string()),
        "peak_texts": pa.array(result.peak_texts, pa.list_(pa.string())),
        "peak_token_share": pa.array(
            np.where(
                has_peak, _at(tokens.count, first) / np.maximum(evidence["distinct"], 1), np.nan
            ),
            from_pandas=True,
        ),
        "peak_token_count": np.diff(tokens.offsets).astype(np.int32),
        "decoder_norm": pa.nulls(n) if result.decoder_norm is None else result.decoder_norm,
        "peak_token_ids": _lists(tokens.offsets, pa.array(tokens.token)),
    }
    return pa.table(columns, schema=SCALARS)


def control_contexts(result: LayerResult) -> pa.Table:
    """One row a control unit, in the schema GHOST_CONTEXTS. result: of the control units alone."""
    table = result.contexts
    columns: dict[str, Any] = {
        f.name: getattr(table, f.name, None)
        for f in (EVIDENCE_ENTRY.field(i) for i in range(EVIDENCE_ENTRY.num_fields))
    }
    columns |= {
        "band": pa.array(table.band, mask=table.band < 0),
        "token": table.peak_token,
        "sense": sense_of_contexts(result.senses, len(table.neuron)),
    }
    evidence = _lists(result.context_offsets, _struct(columns, EVIDENCE_ENTRY))
    ghosts = result.neurons.astype(np.int32)
    return pa.table({"ghost": ghosts, "evidence": evidence}, schema=GHOST_CONTEXTS)


def score_columns(
    senses: LayerSenses | None, distinct: np.ndarray, nonfinite: np.ndarray
) -> dict[str, Any]:
    """The columns of SCORES for both tails, and same_at. distinct: (N,) contexts of the positive
    tail; nonfinite: (N,) bool.
    """
    n = len(distinct)
    if senses is None:
        enough = distinct >= EVIDENCE_CONTEXTS
        unscored = {name: pa.nulls(n) for f in SCORES for name in (f.name, negative(f.name))}
        return unscored | {
            "status": _statuses(np.where(enough, "not_scored", "insufficient_evidence"), nonfinite),
            "same_at": pa.nulls(n),
        }
    columns: dict[str, Any] = {"same_at": np.full(n, senses.same_at)}
    names: dict[Tail, Callable[[str], str]] = {"positive": str, "negative": negative}
    for tail, name_of in names.items():
        of_tail = senses.tails.get(tail)
        for f in SCORES:
            columns[name_of(f.name)] = (
                pa.nulls(n) if of_tail is None else _nullable(of_tail.scores[f.name], f.type)
            )
        if of_tail is not None:
            columns[name_of("status")] = _statuses(of_tail.scores["status"], nonfinite)
    return columns


def _statuses(status: np.ndarray, nonfinite: np.ndarray) -> pa.Array:
    return pa.array(np.where(nonfinite, NOT_FINITE, status), pa.string())


def _nullable(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    return pa.array(values, from_pandas=True).cast(kind)


def sense_columns(
    senses: LayerSenses | None, words: Mapping[Tail, TailWords], context_offsets: np.ndarray
) -> dict[str, pa.Array]:
    """Senses and merges of every neuron."""
    n = len(context_offsets) - 1
    if senses is None:
        nothing = pa.nulls(n, pa.list_(MERGE))
        return {
            "senses": _lists(np.zeros(n + 1), pa.array([], SENSE)),
            "merges": nothing,
            negative("merges"): nothing,
        }
    return {
        "senses": _senses(senses, words, context_offsets),
        "merges": _merges(senses.tails.get("positive"), n),
        negative("merges"): _merges(senses.tails.get("negative"), n),
    }


def _senses(
    senses: LayerSenses, words: Mapping[Tail, TailWords], context_offsets: np.ndarray
) -> pa.ListArray:
    parts, neurons = [], []
    for tail, found in senses.tails.items():
        table, tokens = found.table, found.tokens
        columns = {
            f.name: getattr(table, f.name, None)
            for f in (SENSE.field(i) for i in range(SENSE.num_fields))
        }
        assert tokens is not None
        columns |= {
            "tail": pa.array([tail] * len(table.neuron), pa.string()),
            "name": pa.array(words[tail].name, pa.string()),
            "languages": list_languages(words[tail]),
            # Shown contexts come first, so that their places in the table are those in the list.
            "medoid": pa.array(table.medoid - context_offsets[table.neuron], mask=table.medoid < 0),
            "between": _nullable(table.between, pa.float32()),
            "auprc": _nullable(table.auprc, pa.float32()),
            "auprc_baseline": _nullable(table.auprc_baseline, pa.float32()),
            "tokens": _lists(
                tokens.offsets, _struct({n: getattr(tokens, n) for n in _SENSE_TOKEN}, SENSE_TOKEN)
            ),
        }
        parts.append(_struct(columns, SENSE))
        neurons.append(table.neuron)
    neuron = np.concatenate(neurons)
    order = np.argsort(neuron, kind="stable")
    offsets = np.searchsorted(neuron[order], np.arange(len(context_offsets)))
    return _lists(offsets, pa.concat_arrays(parts).take(pa.array(order)))


_SENSE_TOKEN = ("token", "at", "count", "z")


def _merges(found: TailSenses | None, neurons: int) -> pa.Array:
    """A neuron's slots but the last, which its tree leaves empty."""
    if found is None:
        return pa.nulls(neurons, pa.list_(MERGE))
    offsets = found.evidence.offsets
    used = np.ones(len(found.sense), bool)
    used[offsets[1:][np.diff(offsets) > 0] - 1] = False
    tree = found.tree
    columns = {"left": tree.left[used], "right": tree.right[used], "same_at": tree.same[used]}
    return _lists(
        np.concatenate([[0], np.cumsum(np.maximum(np.diff(offsets) - 1, 0))]),
        _struct(columns, MERGE),
    )


def _at(column: np.ndarray, places: np.ndarray) -> np.ndarray:
    return column[places] if len(column) else np.zeros(len(places), column.dtype)


def _evidence(result: LayerResult) -> dict[str, np.ndarray]:
    """Contexts a neuron: in the positive top list, in its sample, and of both those with a positive
    activation.
    """
    table, n = result.contexts, len(result.neurons)
    positive, top = table.tail == "positive", table.sample == "top"
    counts = {
        "top": positive & top,
        "sampled": positive & ~top,
        "distinct": positive & (table.activation > 0),
    }
    return {
        name: np.bincount(table.neuron[use], minlength=n).astype(np.int32)
        for name, use in counts.items()
    }


def layer_reports(result: LayerResult, scalars: pa.Table) -> pa.Table:
    """One row a neuron, in the schema REPORTS."""
    scan, nonfinite = result.scan, result.nonfinite
    counts = np.where(nonfinite[:, None], 0, scan.statistics.histogram.counts.numpy())
    used = counts > 0
    first, last = used.argmax(1), counts.shape[1] - used[:, ::-1].argmax(1)
    last[nonfinite] = 0
    inside = (np.arange(counts.shape[1]) >= first[:, None]) & (
        np.arange(counts.shape[1]) < last[:, None]
    )
    low, high = (
        np.where(nonfinite, 0, of.numpy()) for of in (scan.statistics.low, scan.statistics.high)
    )
    marks = quantiles(counts, low, high).astype(np.float32)
    sense = sense_of_contexts(result.senses, len(result.contexts.neuron))
    extra = {
        "quantiles": _without(nonfinite, marks.shape[1], pa.array(marks.ravel())),
        "histogram_first": pa.array(first.astype(np.int32)),
        "histogram": _lists(
            np.concatenate([[0], np.cumsum(last - first)]), pa.array(counts[inside])
        ),
        "bands": _bands(scan, nonfinite),
        "peak_tokens": _peak_tokens(result.peak_tokens),
        "contexts": _contexts(result, sense),
        "evidence": _evidence_entries(result, sense),
        **sense_columns(result.senses, result.words, result.context_offsets),
        "promoted": _logits(result.lens, "promoted", len(counts)),
        "suppressed": _logits(result.lens, "suppressed", len(counts)),
    }
    columns = [
        scalars.column(f.name) if f.name in SCALARS.names else extra[f.name] for f in REPORTS
    ]
    return pa.table(columns, schema=REPORTS)


def _lists(offsets: np.ndarray, values: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)


def _without(left_out: np.ndarray, each: int, values: pa.Array) -> pa.ListArray:
    """Lists of `each` values a neuron, empty for those left out."""
    sizes = np.where(left_out, 0, each)
    return _lists(
        np.concatenate([[0], np.cumsum(sizes)]),
        values.filter(pa.array(np.repeat(~left_out, each))) if left_out.any() else values,
    )


def _struct(columns: Mapping[str, Any], kind: pa.StructType) -> pa.StructArray:
    fields = [kind.field(i) for i in range(kind.num_fields)]
    return pa.StructArray.from_arrays(
        [pa.array(columns[f.name]).cast(f.type) for f in fields], fields=fields
    )


def _bands(scan: LayerScan, nonfinite: np.ndarray) -> pa.ListArray:
    """Every neuron's bands, the tails after each other."""
    neurons = len(nonfinite)
    parts = [(tail, s) for tail, s in scan.tails.items() if s.edges is not None]
    if not parts:
        return _lists(np.zeros(neurons + 1), pa.array([], BAND))
    bands = parts[0][1].sizes.bands
    low, high, windows = [], [], []
    for _, s in parts:
        assert s.edges is not None
        sign = s.sign
        edges = np.pad(s.edges.numpy(), ((0, 0), (1, 1)), constant_values=((0, 0), (0, np.inf)))
        low.append(edges[:, :-1] * sign)
        high.append(edges[:, 1:] * sign)
        windows.append(s.band_windows.numpy())
    columns = {
        "tail": np.tile(np.repeat([tail for tail, _ in parts], bands), neurons),
        "band": np.tile(np.tile(np.arange(bands), len(parts)), neurons),
        "low": _finite(np.concatenate(low, 1).ravel()),
        "high": _finite(np.concatenate(high, 1).ravel()),
        "windows": np.concatenate(windows, 1).ravel(),
    }
    return _without(nonfinite, bands * len(parts), _struct(columns, BAND))


def _finite(values: np.ndarray) -> pa.Array:
    return pa.array(values, mask=~np.isfinite(values))


def _peak_tokens(tokens: PeakTokens) -> pa.ListArray:
    columns = {name: getattr(tokens, name) for name in ("token", "count", "mean", "max")}
    return _lists(tokens.offsets, _struct(columns, PEAK_TOKEN))


def _contexts(result: LayerResult, sense: pa.Array) -> pa.ListArray:
    """Those that are shown."""
    table, surfaces = take_shown(result.contexts), result.surfaces
    assert surfaces is not None
    columns: dict[str, Any] = {name: getattr(table, name) for name in _PLAIN}
    columns["sense"] = sense.filter(pa.array(result.contexts.shown))
    columns["band"] = pa.array(table.band, mask=table.band < 0)
    columns["display_start"] = table.display_start
    columns["tokens"] = _lists(table.display_offsets, pa.array(table.tokens))
    columns["activations"] = _lists(table.display_offsets, pa.array(table.activations))
    columns["text"] = pa.array(surfaces.text, pa.string())
    for name in ("peak_start", "peak_end"):
        columns[name] = pa.array(getattr(surfaces, name), mask=~surfaces.has_peak)
    for name in ("token_starts", "token_ends"):
        places = pa.array(getattr(surfaces, name), mask=~surfaces.has_place)
        columns[name] = _lists(table.display_offsets, places)
    return _by_neuron(table.neuron, result, _struct(columns, CONTEXT))


def _evidence_entries(result: LayerResult, sense: pa.Array) -> pa.ListArray:
    """The contexts beyond those that are shown."""
    table = result.contexts
    own = ~table.shown
    columns: dict[str, Any] = {name: getattr(table, name)[own] for name in _PLAIN}
    columns["token"] = table.peak_token[own]
    columns["sense"] = sense.filter(pa.array(own))
    columns["band"] = pa.array(table.band[own], mask=table.band[own] < 0)
    return _by_neuron(table.neuron[own], result, _struct(columns, EVIDENCE_ENTRY))


_PLAIN = (
    "tail", "sample", "document", "window", "position", "char_start", "char_end", "activation",
)  # fmt: skip


def _by_neuron(neuron: np.ndarray, result: LayerResult, entries: pa.StructArray) -> pa.ListArray:
    """neuron: (C,) ascending, whose each entry is."""
    return _lists(np.searchsorted(neuron, np.arange(len(result.neurons) + 1)), entries)


def sense_of_contexts(senses: LayerSenses | None, contexts: int) -> pa.Array:
    if senses is None:
        return pa.nulls(contexts, pa.int32())
    sense = senses.of_contexts(contexts)
    return pa.array(sense, mask=sense < 0)


def _logits(lens: Lens | None, side: str, neurons: int) -> pa.Array:
    if lens is None:
        return pa.nulls(neurons, pa.list_(LOGIT))
    tokens, logits = getattr(lens, f"{side}_tokens"), getattr(lens, f"{side}_logits")
    columns = {"token": tokens.ravel(), "logit": logits.ravel()}
    lists = _lists(np.arange(neurons + 1) * tokens.shape[1], _struct(columns, LOGIT))
    finite = np.isfinite(logits).all(1)
    return lists if finite.all() else pc.if_else(pa.array(finite), lists, None)
