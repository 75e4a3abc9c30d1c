"""Senses made anew from a finished result, without its model: another limit, smallest size or kind
of vector.

The new result is whole: what does not depend on senses is taken over from the old one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polyseme.contract.errors import AnalysisError
from polyseme.contract.files.column import NOT_FINITE, negative
from polyseme.contract.files.results import (
    BACKGROUND,
    GHOST_CONTEXTS,
    GHOST_SCALARS,
    LANGUAGES,
    REPORTS,
    SCALARS,
    SUMMARY,
    TOKENS,
    VECTORS,
    fill_up,
    fires_file,
    ghosts_file,
    report_file,
)
from polyseme.contract.files.seals import SealedFolder, check_file, seals_of
from polyseme.contract.files.store import Store
from polyseme.contract.records.job import Corpus
from polyseme.contract.records.model_card import SiteCard
from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.contexts.choose import TOP, ContextTable
from polyseme.workers.analysis.contexts.split import stack_tables, take_contexts
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
    read_control_scalars,
    read_json,
    read_layer_scalars,
    read_manifest,
    read_vectors_at,
    write_control_contexts,
    write_reports,
)
from polyseme.workers.analysis.reports.words import meaning_columns
from polyseme.workers.analysis.senses.comparison import compare_with_controls, take_units
from polyseme.workers.analysis.senses.layer_senses import (
    Background,
    LayerSenses,
    Peaks,
    find_peaks,
    group_contexts,
    layer_material,
)
from polyseme.workers.analysis.sentences.wording import TailWords, word_layer
from polyseme.workers.analysis.sites.recalled import recall_site
from polyseme.workers.analysis.sites.site import Site
from polyseme.workers.analysis.sites.table import SITES
from polyseme.workers.analysis.steps.analysis import Analysis, controls_file, scalars_file
from polyseme.workers.analysis.steps.closing import join_layers
from polyseme.workers.analysis.steps.document_languages import has_languages, read_languages
from polyseme.workers.analysis.steps.manifest import describe_senses
from polyseme.workers.analysis.steps.merging import unpack_fires
from polyseme.workers.analysis.steps.sealing import (
    keep_seals,
    read_layer_seals,
    result_folder,
    seal_result,
)
from polyseme.workers.analysis.steps.word_encoder import encoder_of_result


def read_corpus(store: Store, source: str) -> Corpus:
    """The corpus of a result. source: its folder.

    Raises AnalysisError when no senses can be made from it.
    """
    manifest = read_manifest(store, source)
    if not store.exists(f"{source}/{VECTORS}"):
        raise AnalysisError("the result has no vectors: it was made with senses switched off")
    return Corpus(**manifest["corpus"], created_at=0.0)


def read_own_site(store: Store, source: str) -> tuple[SiteCard, Site] | None:
    """The site of a result whose units were not the model's own; they are not needed any more.

    source: its folder.
    """
    manifest = read_manifest(store, source)
    known, controls = manifest.get("site"), manifest["controls"]  # older results have no site
    if known is None or known["site"] in SITES:
        return None
    card = SiteCard(**known)
    return card, recall_site(card, None if controls is None else controls["recipe"])


def regroup_layer(
    analysis: Analysis, source: str, layer: int, *, should_stop: Stop = never
) -> None:
    """Writes one layer's reports with new senses. Raises Cancelled."""
    store, options = analysis.store, analysis.request.senses
    with opened_table(store, f"{source}/{report_file(layer)}") as file:
        reports = fill_up(file.read().combine_chunks(), REPORTS)
    table, offsets = _context_table(reports)
    neurons = len(reports)
    of_controls = _read_controls(analysis, source, layer)
    if of_controls is not None:
        behind = _evidence_table(of_controls.contexts)
        table = stack_tables([table, behind], [neurons, len(of_controls.contexts)])
    background = Background.read(store, f"{source}/{BACKGROUND}")
    window, position, place = find_peaks(table)
    kept = read_vectors_at(store, source, window, position)
    peaks = Peaks(
        window, position, place, kept.token, kept.word, kept.before, kept.after, kept.near
    )
    table = replace(table, peak_token=kept.token[place])
    encoder = encoder_of_result(analysis, source)
    material = layer_material(options, background, peaks, kept.vector, encoder)
    fires = unpack_fires(analysis, read_arrays(store, f"{source}/{fires_file(layer)}"))
    senses = group_contexts(
        table, len(analysis.numbers), peaks, material, background, fires, options, should_stop
    )
    check_stop(should_stop)
    old = read_layer_scalars(store, source, layer)
    scalars = [old] if of_controls is None else [old, of_controls.scalars]
    selectivity = {tail: _selectivity(scalars, tail) for tail in senses.tails}
    senses = compare_with_controls(senses, selectivity, neurons, analysis.claims_by)
    end = offsets[-1]
    own = take_units(senses, slice(0, neurons), slice(0, end))
    of_neurons = take_contexts(table, np.append(offsets, len(table.neuron)), slice(0, neurons))
    nonfinite = pc.equal(reports.column("status"), NOT_FINITE).to_numpy()
    languages = read_languages(analysis, source, of_neurons.document)
    words = word_layer(own, peaks, place[:end], languages, background, nonfinite)
    columns = _sense_columns(own, words, nonfinite, reports, of_neurons, offsets)
    result = result_folder(analysis)
    _write_layer(analysis, result, layer, reports, old, columns)
    seals = seals_of(read_manifest(store, source))
    result.take(source, fires_file(layer), seals[fires_file(layer)])
    if of_controls is not None:
        units = slice(neurons, len(analysis.numbers))
        renewed = take_units(senses, units, slice(end, None))
        _write_controls(analysis, result, layer, of_controls, renewed)
    keep_seals(analysis, layer, result)


@dataclass(frozen=True, eq=False)
class _Controls:
    """A layer's control units as a result has them."""

    contexts: pa.Table  # in the schema GHOST_CONTEXTS
    scalars: pa.Table  # in the schema GHOST_SCALARS


def _read_controls(analysis: Analysis, source: str, layer: int) -> _Controls | None:
    if not analysis.controls:
        return None
    with opened_table(analysis.store, f"{source}/{ghosts_file(layer)}") as file:
        contexts = file.read().combine_chunks()
    return _Controls(contexts, read_control_scalars(analysis.store, source, layer))


def _selectivity(scalars: Sequence[pa.Table], tail: Tail) -> np.ndarray:
    """It is no matter of senses: as the scan has found it."""
    name = "selectivity" if tail == "positive" else negative("selectivity")
    return np.concatenate([table.column(name).to_numpy() for table in scalars])


def _sense_columns(
    senses: LayerSenses,
    words: Mapping[Tail, TailWords],
    nonfinite: np.ndarray,
    reports: pa.Table,
    table: ContextTable,
    offsets: np.ndarray,
) -> dict[str, Any]:
    """All columns of a layer's reports that senses decide."""
    columns = score_columns(senses, np.zeros(len(reports)), nonfinite)
    columns |= meaning_columns(words, len(reports)) | sense_columns(senses, words, offsets)
    sense = sense_of_contexts(senses, len(table.neuron))
    for name, own in (("contexts", table.shown), ("evidence", ~table.shown)):
        columns[name] = _with_senses(reports.column(name), sense.filter(pa.array(own)))
    return columns


def _write_controls(
    analysis: Analysis,
    result: SealedFolder,
    layer: int,
    controls: _Controls,
    senses: LayerSenses,
) -> None:
    old = controls.contexts.column("evidence")
    nonfinite = pc.equal(controls.scalars.column("status"), NOT_FINITE).to_numpy()
    scores = score_columns(senses, np.zeros(len(nonfinite)), nonfinite)
    scalars = [scores.get(f.name, controls.scalars.column(f.name)) for f in GHOST_SCALARS]
    sense = sense_of_contexts(senses, pc.sum(pc.list_value_length(old)).as_py())
    contexts = [controls.contexts.column("ghost"), _with_senses(old, sense)]
    write_control_contexts(result, layer, pa.table(contexts, schema=GHOST_CONTEXTS))
    keep_scalars(
        analysis.store,
        controls_file(analysis, layer),
        pa.table(scalars, schema=GHOST_SCALARS),
    )


def _write_layer(
    analysis: Analysis,
    result: SealedFolder,
    layer: int,
    reports: pa.Table,
    old: pa.Table,
    columns: dict[str, Any],
) -> None:
    """old: its scalars."""
    scalars = pa.table([columns.get(f.name, old.column(f.name)) for f in SCALARS], schema=SCALARS)
    renewed = pa.table(
        [columns.get(f.name, reports.column(f.name)) for f in REPORTS], schema=REPORTS
    )
    write_reports(result, layer, renewed)
    keep_scalars(analysis.store, scalars_file(analysis, layer), scalars)


# Of a context, as they stand; what it says in its document is no matter of senses.
_KEPT = (
    "tail", "sample", "band", "document", "window", "position", "char_start", "char_end",
    "activation",
)  # fmt: skip


def _context_table(reports: pa.Table) -> tuple[ContextTable, np.ndarray]:
    """The contexts of a layer's reports, without their tokens, and the (N + 1,) offsets."""
    parts = [_columns_of(reports.column(name)) for name in ("contexts", "evidence")]
    shown = np.repeat([True, False], [len(part["tail"]) for part in parts])
    table = _bare_table({n: np.concatenate([part[n] for part in parts]) for n in parts[0]}, shown)
    return table, np.searchsorted(table.neuron, np.arange(len(reports) + 1))


def _evidence_table(controls: pa.Table) -> ContextTable:
    """The contexts of control units, likewise."""
    columns = _columns_of(controls.column("evidence"))
    return _bare_table(columns, np.zeros(len(columns["neuron"]), bool))


def _bare_table(columns: dict[str, np.ndarray], shown: np.ndarray) -> ContextTable:
    order = np.argsort(columns["neuron"], kind="stable")
    nothing = np.zeros(len(order), np.int32)
    return ContextTable(
        **{name: column[order] for name, column in columns.items()},
        peak_token=nothing,
        shown=shown[order],
        display_start=nothing,
        display_offsets=np.zeros(len(order) + 1, np.int64),
        tokens=nothing[:0],
        activations=np.zeros(0, np.float32),
    )


def _columns_of(lists: pa.ChunkedArray) -> dict[str, np.ndarray]:
    array = lists.combine_chunks()
    contexts, sizes = array.flatten(), pc.list_value_length(array).to_numpy()
    columns = {name: contexts.field(name) for name in _KEPT}
    columns["band"] = columns["band"].fill_null(TOP)
    plain = {name: column.to_numpy(zero_copy_only=False) for name, column in columns.items()}
    return plain | {"neuron": np.repeat(np.arange(len(array)), sizes)}


def _with_senses(contexts: pa.ChunkedArray, sense: pa.Array) -> pa.ListArray:
    lists = contexts.combine_chunks()
    flat = lists.flatten()
    fields = list(flat.type)
    columns = [sense if f.name == "sense" else flat.field(f.name) for f in fields]
    struct = pa.StructArray.from_arrays(columns, fields=fields)
    return pa.ListArray.from_arrays(pc.subtract(lists.offsets, lists.offsets[0]), struct)


def close_regrouping(analysis: Analysis, source: str, *, should_stop: Stop = never) -> None:
    """Joins the layers and takes the rest over. Raises DamagedFile, Cancelled."""
    of_layers, result = read_layer_seals(analysis), result_folder(analysis)
    manifest = read_manifest(analysis.store, source)
    seals = seals_of(manifest)
    for name in (TOKENS, VECTORS, BACKGROUND, *([LANGUAGES] if has_languages(analysis) else [])):
        check_stop(should_stop)
        result.take(source, name, seals[name])
    check_file(analysis.store, f"{source}/{SUMMARY}", seals[SUMMARY])
    summary = read_json(analysis.store, f"{source}/{SUMMARY}")
    dictionaries = manifest.get("dictionaries") or ()
    join_layers(analysis, summary, summary.get("warnings", ()), dictionaries, result)
    manifest["request"]["senses"] = analysis.request.to_dict()["senses"]
    manifest["senses"] = describe_senses(analysis, manifest["senses"]["encoder_sha256"])
    manifest["request"]["source_job"] = analysis.request.source_job
    seal_result(analysis, manifest, of_layers, result, should_stop)
