"""The later steps of an analysis: what is usual in the corpus, each layer's reports, what describes the whole.

Each writes files, whole or not, and depends on nothing but the files of the steps before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from contract.errors import DamagedFile
from contract.request import Tail
from contract.results import BACKGROUND, MANIFEST, VECTORS, fires_file
from workers.analysis.background import find_random_tokens
from workers.analysis.capture import reference_layers
from workers.analysis.contexts import (
    ContextTable,
    build_table,
    choose_contexts,
    join_tables,
    near_tokens,
    rank_candidates,
)
from workers.analysis.copies import first_copy, only_copy, read_copied_plan, read_copied_vectors
from workers.analysis.firing import unpack_firings
from workers.analysis.framing import frame
from workers.analysis.grouping import (
    Background,
    LayerSenses,
    Peaks,
    Sources,
    add_parts,
    group_contexts,
    layer_space,
)
from workers.analysis.lens import Lens, logit_lens
from workers.analysis.manifest import describe_analysis
from workers.analysis.memory import keeping_freed_arrays, returning_large_arrays
from workers.analysis.model import LoadedModel, input_energy
from workers.analysis.partial import partial_file, read_arrays, write_arrays
from workers.analysis.peak_tokens import count_peak_tokens
from workers.analysis.plan import Plan, open_windows, read_plan
from workers.analysis.result import (
    LayerResult,
    keep_scalars,
    layer_reports,
    layer_scalars,
    read_scalars,
    write_json,
    write_neurons,
    write_reports,
    write_summary,
    write_vectors,
    write_vocabulary,
)
from workers.analysis.scan import LayerScan
from workers.analysis.steps import Analysis, new_scan, peaks_file, scalars_file
from workers.analysis.stopping import Stop, check_stop, never, until
from workers.analysis.summary import summarise
from workers.analysis.vectors import PROJECTED, input_stream, project_vectors, read_around, read_vectors
from workers.analysis.windows import Windows, read_blocks, take_rows, unpack

LENS_TOKENS = 10


def measure_background(analysis: Analysis, model: LoadedModel, *, should_stop: Stop = never) -> None:
    """Fits what is usual in the corpus, from the vectors of its random tokens. Raises Cancelled."""
    plan = read_plan(analysis.store, analysis.work)
    counts = np.zeros(analysis.card.vocabulary, np.int64)
    found = []
    for row, windows in _all_windows(analysis, plan):
        check_stop(should_stop)
        counts += np.bincount(windows.ids[windows.counted], minlength=len(counts))
        found.append(find_random_tokens(windows, row, plan.counted_tokens))
    tokens = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    framing = frame(model.tokenizer, analysis.card, analysis.request.tokens.bos)
    special = np.array(sorted(framing.special), np.int32)
    parts = len(reference_layers(analysis.card.layers))
    places = tokens["row"], tokens["position"]
    pieces = read_around(analysis.store, analysis.vectors, plan, *places, lambda block: add_parts(block, parts))
    residual, around = map(np.concatenate, zip(*until(pieces, should_stop), strict=True))
    background = Background.fit(residual, around, parts, counts=counts, special=special, **tokens)
    background.write(analysis.store, _background_file(analysis))


def project_shard(analysis: Analysis, shard: int, *, should_stop: Stop = never) -> None:
    """Turns the residual vectors of a shard into those that senses are made of, once for all layers."""
    background = Background.read(analysis.store, _background_file(analysis))

    def project(block: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        check_stop(should_stop)
        return background.project_windows(block, lengths)

    project_vectors(analysis.store, analysis.vectors, analysis.projected, shard, project)


def _background_file(analysis: Analysis) -> str:
    folder = analysis.work if analysis.scanned else first_copy(analysis)
    return f"{folder}/{BACKGROUND}"


def _all_windows(analysis: Analysis, plan: Plan) -> Iterator[tuple[int, Windows]]:
    """Every block's first row and windows."""
    row = 0
    for number in range(len(plan.shards)):
        with open_windows(analysis.store, analysis.work, plan, number) as f:
            for windows in read_blocks(f):
                yield row, windows
                row += len(windows)


def merge_layer(analysis: Analysis, model: LoadedModel, layer: int, *, should_stop: Stop = never) -> None:
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
        hook=analysis.card.hooks.format(layer=layer),
        scan=scan,
        contexts=chosen.table,
        context_offsets=chosen.offsets,
        near_duplicates=chosen.near_duplicates,
        peak_tokens=count_peak_tokens(chosen.table, len(analysis.neurons)),
        senses=senses,
        lens=_lens(analysis, model, layer),
        vocabulary=model.vocabulary,
    )


def _choose_contexts(analysis: Analysis, plan: Plan, scan: LayerScan, should_stop: Stop) -> _Chosen:
    contexts = analysis.request.contexts
    candidates = {tail: rank_candidates(tail_scan) for tail, tail_scan in scan.tails.items()}
    rows = np.unique(np.concatenate([c.row[c.held] for c in candidates.values()]))
    windows = _take_windows(analysis, plan, rows, should_stop)
    choices = {t: choose_contexts(c, near_tokens(c, windows, rows), contexts) for t, c in candidates.items()}
    tables = [build_table(t, contexts.sampling, c, choices[t], windows, rows) for t, c in candidates.items()]
    table, offsets = join_tables(tables, len(analysis.neurons))
    return _Chosen(table, offsets, choices["positive"].near_duplicates, rows, windows.number)


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
    background = Background.read(analysis.store, _background_file(analysis))
    peaks = Peaks.of(table)
    row = _rows_of(peaks.window, chosen.numbers, chosen.rows)
    order = np.lexsort((peaks.position, row))

    def at_peaks(folder: str, stream: str) -> np.ndarray:
        found = _read_all(analysis, folder, plan, stream, row[order], peaks.position[order], should_stop)
        vectors = np.empty_like(found)
        vectors[order] = found
        return vectors

    def inputs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        stream = input_stream(layer)
        random = _read_all(analysis, analysis.vectors, plan, stream, background.row, background.position, should_stop)
        return at_peaks(analysis.vectors, stream), random, input_energy(model, layer)[neurons].cpu().numpy()

    projected = at_peaks(analysis.projected, PROJECTED)
    sources = Sources(projected, lambda: model.vocabulary, analysis.encoder.get, inputs)
    space = layer_space(options, background, table, peaks, sources)
    packed = {tail: np.concatenate(bits) for tail, bits in firings.items()}
    write_arrays(analysis.store, f"{analysis.result}/{fires_file(layer)}", {str(t): bits for t, bits in packed.items()})
    kept = {"row": row[order], "window": peaks.window[order], "position": peaks.position[order]}
    write_arrays(analysis.store, peaks_file(analysis, layer), kept)
    fires = {tail: unpack_firings(bits, len(neurons)) for tail, bits in packed.items()}
    return group_contexts(table, neurons, layer, peaks, space, background, fires, options, should_stop)


def _rows_of(window: np.ndarray, numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
    order = np.argsort(numbers)
    found: np.ndarray = rows[order[np.searchsorted(numbers[order], window)]]
    return found.astype(np.int64)


def _read_all(
    analysis: Analysis,
    folder: str,
    plan: Plan,
    stream: str,
    rows: np.ndarray,
    positions: np.ndarray,
    should_stop: Stop,
) -> np.ndarray:
    pieces = read_vectors(analysis.store, folder, plan, stream, rows, positions)
    return np.concatenate(list(until(pieces, should_stop)))


def lens_file(analysis: Analysis, model: LoadedModel, layer: int) -> str:
    return f"{analysis.lens}/{model.weights_sha256}/layer-{layer:03d}-{LENS_TOKENS}.npz"


def _lens(analysis: Analysis, model: LoadedModel, layer: int) -> Lens | None:
    """What the selected neurons promote and suppress, from the store if it is there; None for encoders."""
    path = lens_file(analysis, model, layer)
    try:
        found = Lens(**read_arrays(analysis.store, path))
    except DamagedFile:
        # Not there yet, or of no use.
        with keeping_freed_arrays():
            computed = logit_lens(model, layer, LENS_TOKENS)
        if computed is None:
            return None
        found = computed
        write_arrays(analysis.store, path, asdict(found))
    return Lens(**{name: array[list(analysis.neurons)] for name, array in asdict(found).items()})


def close_analysis(analysis: Analysis, model: LoadedModel, *, should_stop: Stop = never) -> dict[str, Any]:
    """Joins the layers and writes what describes the whole. Afterwards the work folder is of no use.

    Returns the manifest. Raises Cancelled.
    """
    plan = asdict(read_plan(analysis.store, analysis.work)) if analysis.scanned else read_copied_plan(analysis)
    if analysis.request.senses.enabled:
        _keep_vectors(analysis, should_stop)
    check_stop(should_stop)
    write_vocabulary(analysis.store, analysis.result, model.vocabulary)
    join_layers(analysis, plan)
    manifest = describe_analysis(analysis, model, plan)
    write_json(analysis.store, f"{analysis.result}/{MANIFEST}", manifest)
    return manifest


def join_layers(analysis: Analysis, plan: Mapping[str, Any]) -> None:
    """Writes the scalars of all layers as one table, and their summary."""
    layers = [read_scalars(analysis.store, scalars_file(analysis, layer)) for layer in analysis.layers]
    neurons = write_neurons(analysis.store, analysis.result, layers)
    write_summary(analysis.store, analysis.result, summarise(neurons, plan))


def _keep_vectors(analysis: Analysis, should_stop: Stop) -> None:
    """Puts what senses were made of into the result, so that they can be made anew without the model."""
    store = analysis.store
    # Read first: a damaged one must not get into the result.
    background = Background.read(store, _background_file(analysis))
    background.write(store, f"{analysis.result}/{BACKGROUND}")
    # By row first, as vectors lie; the window says the same to whoever reads the result.
    keys, window = np.zeros(0, np.int64), np.zeros(0, np.int32)
    for layer in analysis.layers:
        kept = read_arrays(store, peaks_file(analysis, layer))
        keys, first = np.unique(np.concatenate([keys, kept["row"] << 32 | kept["position"]]), return_index=True)
        window = np.concatenate([window, kept["window"]])[first]
    if copy := only_copy(analysis, len(keys)):
        store.copy(f"{copy}/{VECTORS}", f"{analysis.result}/{VECTORS}")
        return
    places = {"row": keys >> 32, "window": window, "position": keys & 0xFFFF_FFFF}
    pieces = until(_vectors_at(analysis, keys), should_stop)
    write_vectors(store, analysis.result, background.projected.shape[1], places, pieces)


def _vectors_at(analysis: Analysis, keys: np.ndarray) -> Iterator[np.ndarray]:
    """Of a job with a scan they are all in its own files, those of the layers that it takes over too."""
    if not analysis.scanned:
        return read_copied_vectors(analysis, keys)
    plan = read_plan(analysis.store, analysis.work)
    return read_vectors(analysis.store, analysis.projected, plan, PROJECTED, keys >> 32, keys & 0xFFFF_FFFF)
