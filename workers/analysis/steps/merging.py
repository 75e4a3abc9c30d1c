"""The later steps of an analysis: what is usual in the corpus, each layer's reports, what describes
the whole.

Each writes files, whole or not, and depends on nothing but the files of the steps before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch

from polyseme.contract.errors import DamagedFile
from polyseme.contract.files.results import fires_file
from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.contexts.choose import (
    Candidates,
    ContextTable,
    build_table,
    choose_contexts,
    join_tables,
    near_tokens,
    rank_candidates,
    take_shown,
)
from polyseme.workers.analysis.contexts.peak_places import read_places
from polyseme.workers.analysis.contexts.peak_tokens import count_peak_tokens, list_peak_texts
from polyseme.workers.analysis.contexts.split import stack_candidates, take_contexts
from polyseme.workers.analysis.contexts.surfaces import Surfaces, cut_surfaces
from polyseme.workers.analysis.corpus.plan import Plan, open_windows, read_plan
from polyseme.workers.analysis.corpus.windows import Windows, take_rows, unpack
from polyseme.workers.analysis.files.arrays import partial_file, read_arrays, write_arrays
from polyseme.workers.analysis.machine.memory import keeping_freed_arrays, returning_large_arrays
from polyseme.workers.analysis.machine.stopping import Stop, check_stop, never, until
from polyseme.workers.analysis.models.lens import Lens, logit_lens
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.reports.columns import (
    LayerResult,
    control_contexts,
    layer_reports,
    layer_scalars,
)
from polyseme.workers.analysis.reports.control_rows import control_scalars
from polyseme.workers.analysis.reports.result_files import (
    keep_scalars,
    write_control_contexts,
    write_reports,
)
from polyseme.workers.analysis.scan.layer_scan import LayerScan
from polyseme.workers.analysis.scan.statistics.context_lists import under
from polyseme.workers.analysis.senses.comparison import (
    compare_with_controls,
    find_selectivity,
    measure_parts,
    take_units,
)
from polyseme.workers.analysis.senses.firing import unpack_firings
from polyseme.workers.analysis.senses.layer_senses import (
    Background,
    LayerSenses,
    Peaks,
    find_peaks,
    group_contexts,
    layer_material,
)
from polyseme.workers.analysis.senses.vectors import PROJECTED, read_vectors
from polyseme.workers.analysis.sentences.wording import TailWords, word_units
from polyseme.workers.analysis.steps.analysis import (
    CONTROLS,
    Analysis,
    controls_file,
    new_scan,
    scalars_file,
)
from polyseme.workers.analysis.steps.document_languages import read_languages
from polyseme.workers.analysis.steps.kept_peaks import write_peaks
from polyseme.workers.analysis.steps.projecting import background_file
from polyseme.workers.analysis.steps.sealing import keep_seals, result_folder
from polyseme.workers.analysis.steps.word_encoder import chosen_encoder

LENS_TOKENS = 10


def merge_layer(
    analysis: Analysis, model: LoadedModel, layer: int, *, should_stop: Stop = never
) -> None:
    """Puts the partials of one layer together and writes its reports. Raises Cancelled."""
    plan = read_plan(analysis.store, analysis.work)
    with returning_large_arrays(), torch.inference_mode():
        groups = [_Units(analysis, layer, controls=False)]
        if analysis.controls:
            groups.append(_Units(analysis, layer, controls=True))
        for shard in range(len(plan.shards)):
            check_stop(should_stop)
            arrays = _read_partial(analysis, shard, layer)
            for group in groups:
                group.merge(under(group.prefix, arrays))
        results = _layer_results(analysis, model, plan, layer, groups, should_stop)
    check_stop(should_stop)
    result, *controls = results
    folder = result_folder(analysis)
    if analysis.request.senses.enabled:
        write_arrays(folder, fires_file(layer), _pack_firings(groups))
    scalars = layer_scalars(result)
    write_reports(folder, layer, layer_reports(result, scalars))
    keep_scalars(analysis.store, scalars_file(analysis, layer), scalars)
    for of_controls in controls:
        contexts = control_contexts(of_controls)
        write_control_contexts(folder, layer, contexts)
        keep_scalars(analysis.store, controls_file(analysis, layer), control_scalars(of_controls))
    keep_seals(analysis, layer, folder)


class _Units:
    """What all shards have kept of a layer's neurons, or of its control units."""

    def __init__(self, analysis: Analysis, layer: int, *, controls: bool) -> None:
        self.prefix = CONTROLS if controls else ""
        self.scan = new_scan(analysis, layer, "cpu", controls=controls)
        self.numbers = np.arange(analysis.controls) if controls else np.array(analysis.neurons)
        self._firings: dict[Tail, list[np.ndarray]] = {tail: [] for tail in self.scan.tails}

    def merge(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.scan.merge(arrays)
        for tail, bits in self._firings.items():
            if (found := arrays.get(f"fires/{tail}")) is not None:
                bits.append(found)

    @cached_property
    def firings(self) -> dict[Tail, np.ndarray]:
        """(R, ⌈N / 8⌉) uint8 of each tail, as `FiringSample` packs them; once all are merged."""
        return {tail: np.concatenate(bits) for tail, bits in self._firings.items()}


def _read_partial(analysis: Analysis, shard: int, layer: int) -> dict[str, np.ndarray]:
    """Raises DamagedFile, also for a partial of a version that wrote whole lists."""
    path = partial_file(analysis.work, shard)
    arrays = read_arrays(analysis.store, path, f"{layer:03d}/")
    if any(f"{tail}/top/counts" not in arrays for tail in analysis.request.tails):
        raise DamagedFile(f"{path} is of an earlier version, or lacks layer {layer}", path=path)
    return arrays


@dataclass(frozen=True, eq=False)
class _Chosen:
    """A layer's contexts, and the windows that hold them: of N neurons and, behind them, of G
    control units. C contexts, W windows.
    """

    table: ContextTable
    surfaces: Surfaces  # of the neurons' contexts that are shown
    peaks: Peaks
    texts: pa.Array  # (U,) at the peaks
    offsets: np.ndarray  # (N + G + 1,) each unit's in the table
    near_duplicates: np.ndarray  # (N + G,) of the positive tail
    rows: np.ndarray  # (W,) ascending
    numbers: np.ndarray  # (W,)


def _layer_results(
    analysis: Analysis,
    model: LoadedModel,
    plan: Plan,
    layer: int,
    groups: Sequence[_Units],
    should_stop: Stop,
) -> list[LayerResult]:
    """Of the neurons, and of the control units where there are any."""
    chosen = _choose_contexts(analysis, plan, groups, should_stop)
    senses, background = None, None
    if analysis.request.senses.enabled:
        background = Background.read(analysis.store, background_file(analysis))
        senses = find_layer_senses(analysis, background, plan, layer, chosen, groups, should_stop)
    check_stop(should_stop)
    ends = np.cumsum([0, *(len(group.numbers) for group in groups)]).tolist()
    results = []
    for group, first, end in zip(groups, ends[:-1], ends[1:], strict=True):
        units = slice(first, end)
        table = take_contexts(chosen.table, chosen.offsets, units)
        offsets = chosen.offsets[first : end + 1] - chosen.offsets[first]
        contexts = slice(chosen.offsets[first], chosen.offsets[end])
        is_neurons = group is groups[0]
        place = chosen.peaks.place[contexts]
        texts = (
            list_peak_texts(table, place, chosen.texts, model.vocabulary, end - first)
            if is_neurons
            else [[]] * (end - first)
        )
        own = None if senses is None else take_units(senses, units, contexts)
        words: dict[Tail, TailWords] = {}
        if is_neurons:
            lost = group.scan.statistics.nonfinite.numpy().astype(bool)
            languages = read_languages(analysis, analysis.work, table.document)
            words = word_units(own, table, chosen.peaks, place, languages, background, lost)
        results.append(
            LayerResult(
                layer=layer,
                neurons=group.numbers,
                hook=analysis.card.site(analysis.site.name).hook.format(layer=layer),
                scan=group.scan,
                contexts=table,
                surfaces=chosen.surfaces if is_neurons else None,
                context_offsets=offsets,
                near_duplicates=chosen.near_duplicates[units],
                peak_tokens=count_peak_tokens(table, end - first),
                peak_texts=texts,
                senses=own,
                words=words,
                lens=_lens(analysis, model, layer) if is_neurons else None,
                decoder_norm=_decoder_norm(analysis, layer) if is_neurons else None,
                vocabulary=model.vocabulary,
            )
        )
    return results


def _choose_contexts(
    analysis: Analysis, plan: Plan, groups: Sequence[_Units], should_stop: Stop
) -> _Chosen:
    contexts = analysis.request.contexts
    candidates = {
        tail: stack_candidates([_rank(group.scan, tail) for group in groups])
        for tail in analysis.request.tails
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
    table, offsets = join_tables(tables, len(analysis.numbers))
    of_neurons = take_contexts(table, offsets, slice(0, len(analysis.neurons)))
    window, position, place = find_peaks(table)
    at_peaks = read_places(windows, window, position, contexts.window)
    return _Chosen(
        table=table,
        surfaces=cut_surfaces(take_shown(of_neurons), windows),
        peaks=Peaks(
            window,
            position,
            place,
            at_peaks.token,
            at_peaks.word,
            at_peaks.before,
            at_peaks.after,
            at_peaks.near,
        ),
        texts=at_peaks.text,
        offsets=offsets,
        near_duplicates=choices["positive"].near_duplicates,
        rows=rows,
        numbers=windows.number,
    )


def _rank(scan: LayerScan, tail: Tail) -> Candidates:
    return rank_candidates(scan.tails[tail], scan.statistics.nonfinite.numpy().astype(bool))


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
    background: Background,
    plan: Plan,
    layer: int,
    chosen: _Chosen,
    groups: Sequence[_Units],
    should_stop: Stop,
) -> LayerSenses:
    """Of the neurons and the control units behind them."""
    options, table = analysis.request.senses, chosen.table
    peaks = chosen.peaks
    row = _rows_of(peaks.window, chosen.numbers, chosen.rows)
    order = np.lexsort((peaks.position, row))

    def at_peaks(folder: str, stream: str) -> np.ndarray:
        found = _read_all(
            analysis, folder, plan, stream, row[order], peaks.position[order], should_stop
        )
        vectors = np.empty_like(found)
        vectors[order] = found
        return vectors

    projected = at_peaks(analysis.projected, PROJECTED)
    encoder = analysis.encoder.find(chosen_encoder(analysis))
    material = layer_material(options, background, peaks, projected, encoder)
    write_peaks(analysis, layer, row, peaks)
    fires = unpack_fires(analysis, _pack_firings(groups))
    senses = group_contexts(
        table, len(analysis.numbers), peaks, material, background, fires, options, should_stop
    )
    selectivity = _selectivity(groups, senses.tails)
    return compare_with_controls(senses, selectivity, len(analysis.neurons), analysis.claims_by)


def _pack_firings(groups: Sequence[_Units]) -> dict[str, np.ndarray]:
    return {f"{g.prefix}{tail}": bits for g in groups for tail, bits in g.firings.items()}


def unpack_fires(analysis: Analysis, packed: Mapping[str, np.ndarray]) -> dict[Tail, np.ndarray]:
    """On which random tokens the neurons fire and the control units behind them, (R, N + G) bool of
    each tail. packed: as a result holds them.
    """
    units = {"": len(analysis.neurons)}
    units |= {CONTROLS: analysis.controls} if analysis.controls else {}
    return {
        tail: np.concatenate(
            [unpack_firings(packed[f"{prefix}{tail}"], n) for prefix, n in units.items()], axis=1
        )
        for tail in analysis.request.tails
    }


def _selectivity(groups: Sequence[_Units], tails: Iterable[Tail]) -> dict[Tail, np.ndarray]:
    """Of the neurons and the control units behind them, (N + G,) of each tail."""
    found = {}
    for tail in tails:
        parts = np.concatenate([measure_parts(group.scan.statistics, tail) for group in groups])
        found[tail] = find_selectivity(parts, parts[len(groups[0].numbers) :])
    return found


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


def _decoder_norm(analysis: Analysis, layer: int) -> np.ndarray | None:
    """Of the selected latents, (N,)."""
    latents = analysis.latents.get(layer)
    norms = None if latents is None else latents.dictionary.decoder_norm
    return None if norms is None else norms[list(analysis.neurons)].cpu().numpy()


def lens_file(analysis: Analysis, model: LoadedModel, layer: int) -> str:
    folder = f"{analysis.lens}/{model.weights_sha256}"
    return f"{folder}/{analysis.site.name}-{layer:03d}-{LENS_TOKENS}.npz"


def _lens(analysis: Analysis, model: LoadedModel, layer: int) -> Lens | None:
    """What the selected neurons promote and suppress, from the store if it is there;

    None for encoders.
    """
    path = lens_file(analysis, model, layer)
    try:
        # Of units that a job brings there is none: the folder outlives jobs, and is everybody's.
        found = None if analysis.own_site else Lens(**read_arrays(analysis.store, path))
    except DamagedFile:
        found = None  # not there yet, or of no use
    if found is None:
        with keeping_freed_arrays():
            found = logit_lens(
                model.parts, analysis.site.directions(model.parts, layer), LENS_TOKENS
            )
        if found is None:
            return None
        if analysis.own_site is None:
            write_arrays(analysis.store, path, asdict(found))
    return Lens(**{name: array[list(analysis.neurons)] for name, array in asdict(found).items()})
