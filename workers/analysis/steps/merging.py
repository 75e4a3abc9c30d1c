"""The later steps of an analysis: what is usual in the corpus, each layer's reports, what describes
the whole.

Each writes files, whole or not, and depends on nothing but the files of the steps before it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import torch

from polyseme.contract.errors import DamagedFile
from polyseme.contract.files.results import fires_file
from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.contexts.choose import (
    ContextTable,
    build_table,
    choose_contexts,
    join_tables,
    near_tokens,
    rank_candidates,
)
from polyseme.workers.analysis.contexts.peak_tokens import count_peak_tokens, list_peak_texts
from polyseme.workers.analysis.contexts.surfaces import Surfaces, cut_surfaces
from polyseme.workers.analysis.corpus.plan import Plan, open_windows, read_plan
from polyseme.workers.analysis.corpus.windows import Windows, take_rows, unpack
from polyseme.workers.analysis.files.arrays import partial_file, read_arrays, write_arrays
from polyseme.workers.analysis.machine.memory import keeping_freed_arrays, returning_large_arrays
from polyseme.workers.analysis.machine.stopping import Stop, check_stop, never, until
from polyseme.workers.analysis.models.lens import Lens, logit_lens
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.reports.columns import LayerResult, layer_reports, layer_scalars
from polyseme.workers.analysis.reports.result_files import (
    keep_scalars,
    write_reports,
)
from polyseme.workers.analysis.scan.layer_scan import LayerScan
from polyseme.workers.analysis.senses.firing import unpack_firings
from polyseme.workers.analysis.senses.layer_senses import (
    Background,
    LayerSenses,
    Peaks,
    Sources,
    group_contexts,
    layer_space,
)
from polyseme.workers.analysis.senses.vectors import (
    PROJECTED,
    input_stream,
    read_vectors,
)
from polyseme.workers.analysis.steps.analysis import Analysis, new_scan, peaks_file, scalars_file
from polyseme.workers.analysis.steps.projecting import background_file

LENS_TOKENS = 10


def merge_layer(
    analysis: Analysis, model: LoadedModel, layer: int, *, should_stop: Stop = never
) -> None:
    """Puts the partials of one layer together and writes its reports. Raises Cancelled."""
    plan = read_plan(analysis.store, analysis.work)
    with returning_large_arrays(), torch.inference_mode():
        scan = new_scan(analysis, layer, "cpu")
        firings: dict[Tail, list[np.ndarray]] = {}
        for shard in range(len(plan.shards)):
            check_stop(should_stop)
            arrays = _read_partial(analysis, shard, layer)
            scan.merge(arrays)
            for tail in analysis.request.tails:
                if (bits := arrays.get(f"fires/{tail}")) is not None:
                    firings.setdefault(tail, []).append(bits)
        result = _layer_result(analysis, model, plan, layer, scan, firings, should_stop)
    check_stop(should_stop)
    scalars = layer_scalars(result)
    write_reports(analysis.store, analysis.result, layer, layer_reports(result, scalars))
    keep_scalars(analysis.store, scalars_file(analysis, layer), scalars)


def _read_partial(analysis: Analysis, shard: int, layer: int) -> dict[str, np.ndarray]:
    """Raises DamagedFile, also for a partial of a version that wrote whole lists."""
    path = partial_file(analysis.work, shard)
    arrays = read_arrays(analysis.store, path, f"{layer:03d}/")
    if any(f"{tail}/top/counts" not in arrays for tail in analysis.request.tails):
        raise DamagedFile(f"{path} is of an earlier version, or lacks layer {layer}", path=path)
    return arrays


@dataclass(frozen=True, eq=False)
class _Chosen:
    """A layer's contexts, and the windows that hold them. C contexts, W windows."""

    table: ContextTable
    surfaces: Surfaces
    offsets: np.ndarray  # (N + 1,) each neuron's in the table
    near_duplicates: np.ndarray  # (N,) of the positive tail
    rows: np.ndarray  # (W,) ascending
    numbers: np.ndarray  # (W,)


def _layer_result(
    analysis: Analysis,
    model: LoadedModel,
    plan: Plan,
    layer: int,
    scan: LayerScan,
    firings: dict[Tail, list[np.ndarray]],
    should_stop: Stop,
) -> LayerResult:
    chosen = _choose_contexts(analysis, plan, scan, should_stop)
    senses = None
    if analysis.request.senses.enabled:
        senses = find_layer_senses(analysis, model, plan, layer, chosen, firings, should_stop)
    check_stop(should_stop)
    return LayerResult(
        layer=layer,
        neurons=np.array(analysis.neurons),
        hook=analysis.site.hook.format(layer=layer),
        scan=scan,
        contexts=chosen.table,
        surfaces=chosen.surfaces,
        context_offsets=chosen.offsets,
        near_duplicates=chosen.near_duplicates,
        peak_tokens=count_peak_tokens(chosen.table, len(analysis.neurons)),
        peak_texts=list_peak_texts(
            chosen.table, chosen.surfaces, model.vocabulary, len(analysis.neurons)
        ),
        senses=senses,
        lens=_lens(analysis, model, layer),
        vocabulary=model.vocabulary,
    )


def _choose_contexts(analysis: Analysis, plan: Plan, scan: LayerScan, should_stop: Stop) -> _Chosen:
    contexts = analysis.request.contexts
    nonfinite = scan.statistics.nonfinite.numpy().astype(bool)
    candidates = {
        tail: rank_candidates(tail_scan, nonfinite) for tail, tail_scan in scan.tails.items()
    }
    rows = np.unique(np.concatenate([c.row[c.held] for c in candidates.values()]))
    if not len(rows):  # when no neuron is finite: some window, as nothing reads it
        rows = np.zeros(1, np.int32)
    windows = _take_windows(analysis, plan, rows, should_stop)
    choices = {
        t: choose_contexts(c, near_tokens(c, windows, rows), contexts)
        for t, c in candidates.items()
    }
    tables = [
        build_table(t, contexts.sampling, c, choices[t], windows, rows)
        for t, c in candidates.items()
    ]
    table, offsets = join_tables(tables, len(analysis.neurons))
    return _Chosen(
        table=table,
        surfaces=cut_surfaces(table, windows),
        offsets=offsets,
        near_duplicates=choices["positive"].near_duplicates,
        rows=rows,
        numbers=windows.number,
    )


def _take_windows(analysis: Analysis, plan: Plan, rows: np.ndarray, should_stop: Stop) -> Windows:
    """The windows of the given rows (ascending), read from their shards' files."""
    found = []
    for number, shard in enumerate(plan.shards):
        check_stop(should_stop)
        low, high = np.searchsorted(rows, [shard.first_row, shard.first_row + shard.rows])
        if low < high:
            with open_windows(analysis.store, analysis.work, plan, number) as f:
                found.append(take_rows(f, rows[low:high] - shard.first_row))
    return unpack(pa.concat_tables(found).combine_chunks().to_batches()[0])


def find_layer_senses(
    analysis: Analysis,
    model: LoadedModel,
    plan: Plan,
    layer: int,
    chosen: _Chosen,
    firings: dict[Tail, list[np.ndarray]],
    should_stop: Stop,
) -> LayerSenses:
    options, neurons, table = analysis.request.senses, np.array(analysis.neurons), chosen.table
    background = Background.read(analysis.store, background_file(analysis))
    peaks = Peaks.of(table)
    row = _rows_of(peaks.window, chosen.numbers, chosen.rows)
    order = np.lexsort((peaks.position, row))

    def at_peaks(folder: str, stream: str) -> np.ndarray:
        found = _read_all(
            analysis, folder, plan, stream, row[order], peaks.position[order], should_stop
        )
        vectors = np.empty_like(found)
        vectors[order] = found
        return vectors

    def inputs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        energy = analysis.site.input_energy
        assert energy is not None  # `plan_windows` refused it otherwise
        stream = input_stream(layer)
        random = _read_all(
            analysis,
            analysis.vectors,
            plan,
            stream,
            background.row,
            background.position,
            should_stop,
        )
        return (
            at_peaks(analysis.vectors, stream),
            random,
            _finite_rows(energy(model.parts, layer)[neurons].cpu().numpy()),
        )

    projected = at_peaks(analysis.projected, PROJECTED)
    sources = Sources(projected, lambda: model.vocabulary, analysis.encoder.get, inputs)
    space = layer_space(options, background, table, peaks, sources)
    packed = {tail: np.concatenate(bits) for tail, bits in firings.items()}
    write_arrays(
        analysis.store,
        f"{analysis.result}/{fires_file(layer)}",
        {str(t): bits for t, bits in packed.items()},
    )
    kept = {"row": row[order], "window": peaks.window[order], "position": peaks.position[order]}
    write_arrays(analysis.store, peaks_file(analysis, layer), kept)
    fires = {tail: unpack_firings(bits, len(neurons)) for tail, bits in packed.items()}
    return group_contexts(
        table, neurons, layer, peaks, space, background, fires, options, should_stop
    )


def _finite_rows(energy: np.ndarray) -> np.ndarray:
    """With 1 for the weights of neurons that are not finite, which have no contexts."""
    return np.where(np.isfinite(energy).all(1, keepdims=True), energy, 1)


def _rows_of(window: np.ndarray, numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
    order = np.argsort(numbers)
    places: np.ndarray = rows[order[np.searchsorted(numbers[order], window)]]
    return places.astype(np.int64)


def _read_all(
    analysis: Analysis,
    folder: str,
    plan: Plan,
    stream: str,
    rows: np.ndarray,
    positions: np.ndarray,
    should_stop: Stop,
) -> np.ndarray:
    if not len(rows):  # as wide as any
        first = np.zeros(1, np.int64)
        return _read_all(analysis, folder, plan, stream, first, first, should_stop)[:0]
    pieces = read_vectors(analysis.store, folder, plan, stream, rows, positions)
    return np.concatenate(list(until(pieces, should_stop)))


def lens_file(analysis: Analysis, model: LoadedModel, layer: int) -> str:
    folder = f"{analysis.lens}/{model.weights_sha256}"
    return f"{folder}/{analysis.site.name}-{layer:03d}-{LENS_TOKENS}.npz"


def _lens(analysis: Analysis, model: LoadedModel, layer: int) -> Lens | None:
    """What the selected neurons promote and suppress, from the store if it is there;

    None for encoders.
    """
    path = lens_file(analysis, model, layer)
    try:
        found = Lens(**read_arrays(analysis.store, path))
    except DamagedFile:
        # Not there yet, or of no use.
        with keeping_freed_arrays():
            computed = logit_lens(
                model.parts, analysis.site.directions(model.parts, layer), LENS_TOKENS
            )
        if computed is None:
            return None
        found = computed
        write_arrays(analysis.store, path, asdict(found))
    return Lens(**{name: array[list(analysis.neurons)] for name, array in asdict(found).items()})
