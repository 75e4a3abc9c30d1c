"""Senses made anew from a finished result, without its model: another alpha, smallest size or kind
of vector.

The new result is whole: what does not depend on senses is taken over from the old one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polyseme.contract.errors import AnalysisError
from polyseme.contract.files.columns import NOT_FINITE
from polyseme.contract.files.results import (
    BACKGROUND,
    MANIFEST,
    REPORTS,
    SCALARS,
    SUMMARY,
    TOKENS,
    VECTORS,
    fires_file,
    report_file,
)
from polyseme.contract.files.store import Store
from polyseme.contract.records.job import Corpus
from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.contexts.choose import TOP, ContextTable
from polyseme.workers.analysis.files.arrays import read_arrays
from polyseme.workers.analysis.machine.stopping import Stop, check_stop, never
from polyseme.workers.analysis.reports.columns import (
    score_columns,
    sense_columns,
    sense_of_contexts,
)
from polyseme.workers.analysis.reports.result_files import (
    keep_scalars,
    opened_table,
    read_json,
    read_layer_scalars,
    read_manifest,
    read_vectors_at,
    write_json,
    write_reports,
)
from polyseme.workers.analysis.senses.firing import unpack_firings
from polyseme.workers.analysis.senses.layer_senses import (
    Background,
    Peaks,
    Sources,
    group_contexts,
    layer_space,
)
from polyseme.workers.analysis.steps.analysis import Analysis, scalars_file
from polyseme.workers.analysis.steps.closing import join_layers
from polyseme.workers.analysis.steps.manifest import describe_senses


def read_corpus(store: Store, source: str) -> Corpus:
    """The corpus of a result. source: its folder.

    Raises AnalysisError when no senses can be made from it.
    """
    manifest = read_manifest(store, source)
    if not store.exists(f"{source}/{VECTORS}"):
        raise AnalysisError("the result has no vectors: it was made with senses switched off")
    return Corpus(**manifest["corpus"], created_at=0.0)


def regroup_layer(
    analysis: Analysis, source: str, layer: int, *, should_stop: Stop = never
) -> None:
    """Writes one layer's reports with new senses. Raises Cancelled."""
    store, options = analysis.store, analysis.request.senses
    with opened_table(store, f"{source}/{report_file(layer)}") as file:
        reports = file.read().combine_chunks()
    table, offsets = _context_table(reports)
    background = Background.read(store, f"{source}/{BACKGROUND}")
    peaks = Peaks.of(table)
    projected = read_vectors_at(store, source, peaks.window, peaks.position)
    sources = Sources(projected, lambda: _read_vocabulary(store, source), analysis.encoder.get)
    space = layer_space(options, background, table, peaks, sources)
    neurons = reports.column("neuron").to_numpy()
    bits = read_arrays(store, f"{source}/{fires_file(layer)}")
    fires: dict[Tail, np.ndarray] = {
        tail: unpack_firings(bits[tail], len(neurons)) for tail in analysis.request.tails
    }
    senses = group_contexts(
        table, neurons, layer, peaks, space, background, fires, options, should_stop
    )
    check_stop(should_stop)
    nonfinite = pc.equal(reports.column("status"), NOT_FINITE).to_numpy()
    columns = score_columns(senses, np.zeros(len(neurons)), nonfinite)
    columns |= sense_columns(senses, offsets)
    columns["contexts"] = _with_senses(
        reports.column("contexts"), sense_of_contexts(senses, len(table.neuron))
    )
    _write_layer(analysis, source, layer, reports, columns)


def _read_vocabulary(store: Store, source: str) -> list[str]:
    with opened_table(store, f"{source}/{TOKENS}") as file:
        texts: list[str] = file.read().column("text").to_pylist()
    return texts


def _write_layer(
    analysis: Analysis, source: str, layer: int, reports: pa.Table, columns: dict[str, Any]
) -> None:
    store = analysis.store
    old = read_layer_scalars(store, source, layer)
    scalars = pa.table([columns.get(f.name, old.column(f.name)) for f in SCALARS], schema=SCALARS)
    renewed = pa.table(
        [columns.get(f.name, reports.column(f.name)) for f in REPORTS], schema=REPORTS
    )
    write_reports(store, analysis.result, layer, renewed)
    keep_scalars(store, scalars_file(analysis, layer), scalars)
    store.copy(f"{source}/{fires_file(layer)}", f"{analysis.result}/{fires_file(layer)}")


# Of a context, as they stand; what it says in its document is no matter of senses.
_KEPT = ContextTable.__dataclass_fields__.keys() - {"tokens", "activations"}


def _context_table(reports: pa.Table) -> tuple[ContextTable, np.ndarray]:
    """The contexts of a layer's reports, and the (N + 1,) offsets."""
    lists = reports.column("contexts").combine_chunks()
    contexts = lists.flatten()
    offsets = lists.offsets.to_numpy().astype(np.int64) - lists.offsets[0].as_py()
    columns = {f.name: contexts.field(f.name) for f in contexts.type}
    plain = {
        name: (column.fill_null(TOP) if name == "band" else column).to_numpy(zero_copy_only=False)
        for name, column in columns.items()
        if name in _KEPT
    }
    display = (
        columns["tokens"].offsets.to_numpy().astype(np.int64) - columns["tokens"].offsets[0].as_py()
    )
    tokens = columns["tokens"].flatten().to_numpy()
    peak = display[:-1] + plain["position"] - plain["display_start"]
    return ContextTable(
        neuron=np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)),
        **plain,
        peak_token=tokens[peak],
        display_offsets=display,
        tokens=tokens,
        activations=columns["activations"].flatten().to_numpy(),
    ), offsets


def _with_senses(contexts: pa.ChunkedArray, sense: pa.Array) -> pa.ListArray:
    lists = contexts.combine_chunks()
    flat = lists.flatten()
    fields = list(flat.type)
    columns = [sense if f.name == "sense" else flat.field(f.name) for f in fields]
    struct = pa.StructArray.from_arrays(columns, fields=fields)
    return pa.ListArray.from_arrays(pc.subtract(lists.offsets, lists.offsets[0]), struct)


def close_regrouping(analysis: Analysis, source: str) -> None:
    """Joins the layers and takes the rest over."""
    store = analysis.store
    for name in (TOKENS, VECTORS, BACKGROUND):
        store.copy(f"{source}/{name}", f"{analysis.result}/{name}")
    summary = read_json(store, f"{source}/{SUMMARY}")
    join_layers(analysis, summary, summary.get("warnings", ()))
    manifest = read_manifest(store, source)
    manifest["request"]["senses"] = analysis.request.to_dict()["senses"]
    manifest["senses"] = describe_senses(analysis)
    manifest["request"]["source_job"] = analysis.request.source_job
    write_json(store, f"{analysis.result}/{MANIFEST}", manifest)
