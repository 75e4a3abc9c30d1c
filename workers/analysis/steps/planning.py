"""The steps before the scan: the corpus is cut into windows, and a sample of them runs to fix the
bands.

Each writes files, whole or not, and depends on nothing but the files of the steps before it. The
sample runs in parts, so that many workers can share it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
import pyarrow as pa
from torch import Tensor

from polyseme.workers.analysis.corpus.plan import Plan, cut_windows, group_blocks, write_plan
from polyseme.workers.analysis.corpus.windows import (
    Window,
    Windows,
    pack,
    read_blocks,
    write_blocks,
)
from polyseme.workers.analysis.dictionary_fit import measure_on_windows
from polyseme.workers.analysis.files.arrays import read_arrays, reading_arrays, write_arrays
from polyseme.workers.analysis.machine.memory import keeping_freed_arrays
from polyseme.workers.analysis.machine.stopping import Stop, check_stop, never, until
from polyseme.workers.analysis.models.capture import Taps
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.models.tokens import frame, tokenize
from polyseme.workers.analysis.scan.out_of_memory import Halving, count_cut, note_cut
from polyseme.workers.analysis.scan.statistics.bands import inner_edges
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.scan.statistics.context_lists import joined, under
from polyseme.workers.analysis.scan.statistics.extremes import find_peaks
from polyseme.workers.analysis.scan.statistics.sparsity import (
    FEWEST,
    Sparsity,
    find_cuts,
    join_parts,
)
from polyseme.workers.analysis.senses.firing import firing_threshold
from polyseme.workers.analysis.sites.controls import draw_units
from polyseme.workers.analysis.steps.analysis import (
    Analysis,
    Report,
    bands_file,
    cuts_controls,
    fits_file,
    ignore_tokens,
    make_whole_controls,
    prefix_of,
    run_selected,
    tap_controls,
)
from polyseme.workers.analysis.steps.word_encoder import choose_encoder

CALIBRATION_PARTS = 16  # at most: each costs a unit's round trips
FIT_TOKENS = 4096  # enough for two digits of what a dictionary explains


def plan_windows(
    analysis: Analysis,
    model: LoadedModel,
    texts: Iterable[str],
    *,
    on_tokens: Report = ignore_tokens,
    should_stop: Stop = never,
) -> Plan:
    """Cuts the corpus into windows, blocks and shards, and puts the calibration windows aside.

    Raises Cancelled.
    """
    request = analysis.request
    if request.senses.enabled:
        choose_encoder(analysis)
    windows = cut_windows(
        until(texts, should_stop),
        lambda batch: tokenize(model.tokenizer, batch),
        frame(model.tokenizer, analysis.card, request.tokens.bos),
        request.contexts,
        request.tokens,
    )
    plan, sample = write_plan(
        analysis.store,
        analysis.work,
        windows,
        block_tokens=analysis.block_tokens,
        shard_tokens=analysis.shard_tokens,
        on_tokens=on_tokens,
    )
    if analysis.is_calibrated:
        _write_sample(analysis, sample)
    return plan


def calibrate(analysis: Analysis, model: LoadedModel, *, should_stop: Stop = never) -> None:
    """Fixes the bands, where there are to be any. Raises Cancelled."""
    parts = count_parts(analysis)
    for part in range(parts):
        calibrate_part(analysis, model, part, should_stop=should_stop)
    if parts:
        fix_bands(analysis, should_stop=should_stop)


def _write_sample(analysis: Analysis, sample: Sequence[Window]) -> None:
    """Writes the blocks of the calibration windows, those of a part together.

    They are the same in any parts.
    """
    blocks = list(map(pack, group_blocks(sample, analysis.block_tokens)))
    count = min(len(blocks), CALIBRATION_PARTS)
    ends = [len(blocks) * part // count for part in range(count + 1)]
    parts = {_name(part): _as_bytes(blocks[ends[part] : ends[part + 1]]) for part in range(count)}
    write_arrays(analysis.store, _sample_file(analysis), parts)


def _as_bytes(blocks: Sequence[pa.RecordBatch]) -> np.ndarray:
    file = io.BytesIO()
    write_blocks(file, blocks)
    return np.frombuffer(file.getvalue(), np.uint8)


def count_parts(analysis: Analysis) -> int:
    """In how many parts the calibration windows run; 0 where there are none. Raises DamagedFile."""
    if not analysis.is_calibrated:
        return 0
    with reading_arrays(analysis.store, _sample_file(analysis)) as file:
        return len(file.names)


def _read_sample(analysis: Analysis, part: int) -> list[Windows]:
    with reading_arrays(analysis.store, _sample_file(analysis)) as file:
        return list(read_blocks(io.BytesIO(file(_name(part)).tobytes())))


def calibrate_part(
    analysis: Analysis, model: LoadedModel, part: int, *, should_stop: Stop = never
) -> None:
    """Runs a part of the calibration windows and writes their peaks. Raises Cancelled."""
    blocks = _read_sample(analysis, part)
    halving = Halving()
    with keeping_freed_arrays():
        peaks = halving.run(lambda: _find_peaks(analysis, model, blocks, halving, should_stop))
    write_arrays(analysis.store, _peaks_file(analysis, part), peaks | halving.arrays())


def _find_peaks(
    analysis: Analysis,
    model: LoadedModel,
    blocks: Sequence[Windows],
    halving: Halving,
    should_stop: Stop,
) -> dict[str, np.ndarray]:
    """The peaks of the blocks' windows, (W, N) float32 by "layer/tail", and those of the control
    units, (W, G).
    """
    # Made beforehand: arrays for each block would lie between the large ones of the forward pass
    # and break the heap up.
    windows_in_all = sum(map(len, blocks))
    peaks = {
        name: np.empty((windows_in_all, units), np.float32)
        for name, units in _names(analysis).items()
    }
    controls = make_whole_controls(analysis, model)
    sparsity = {layer: Sparsity(len(analysis.neurons)) for layer in _cut_layers(analysis)}
    pad = frame(model.tokenizer, analysis.card, analysis.request.tokens.bos).pad
    first = 0
    for windows in halving.cut(blocks):
        check_stop(should_stop)
        block, rows = Block(windows, 0, pad, model.device), slice(first, first + len(windows))

        def note_peaks(
            layer: int,
            activations: Tensor,
            block: Block = block,
            rows: slice = rows,
            *,
            controls: bool = False,
        ) -> None:
            if layer in sparsity:
                note = sparsity[layer].note_controls if controls else sparsity[layer].note_units
                note(block, activations)
            for tail in analysis.request.tails:
                peaks[prefix_of(layer, controls=controls) + tail][rows] = (
                    find_peaks(block, activations, tail).float().cpu().numpy()
                )

        tap = tap_controls(analysis, model, controls, partial(note_peaks, controls=True))
        run_selected(
            analysis, model, block, note_peaks, Taps(controls=tap), should_stop=should_stop
        )
        first += len(windows)
    # Whoever lost the lease is not to write beside its successor.
    check_stop(should_stop)
    return peaks | joined({_sparsity_of(n): kept.arrays() for n, kept in sparsity.items()})


def fix_bands(analysis: Analysis, *, should_stop: Stop = never) -> None:
    """Makes the sampling bands and the firing thresholds of the peaks of all parts.

    Raises Cancelled.
    """
    contexts, paths = (
        analysis.request.contexts,
        [_peaks_file(analysis, part) for part in range(count_parts(analysis))],
    )
    parts = [read_arrays(analysis.store, path) for path in until(paths, should_stop)]
    cuts = {layer: _find_cuts(layer, parts) for layer in _cut_layers(analysis)}
    bands = {prefix_of(layer, controls=True) + "cuts": found for layer, found in cuts.items()}
    for name in until(_names(analysis), should_stop):
        peaks = np.concatenate([part.pop(name) for part in parts])  # (W, N)
        if (cut := bands.get(f"{name.rpartition('/')[0]}/cuts")) is not None:
            peaks = np.maximum(peaks - cut, 0)
        if contexts.sampling != "activation":
            bands[name] = inner_edges(peaks, contexts.bands, contexts.sampling)
        bands[f"{name}/fires"] = firing_threshold(peaks)
    write_arrays(
        analysis.store, bands_file(analysis), bands | note_cut(count_cut(analysis.store, paths))
    )


def _cut_layers(analysis: Analysis) -> tuple[int, ...]:
    """Those whose control units are cut off."""
    return analysis.scanned if cuts_controls(analysis) else ()


def _sparsity_of(layer: int) -> str:
    return f"sparsity/{layer:03d}"


def _find_cuts(layer: int, parts: Sequence[dict[str, np.ndarray]]) -> np.ndarray:
    """(G,): each control unit is cut off to be active at as many of the calibration windows' tokens
    as one of the layer's units, drawn among those that are at some.
    """
    active, values = join_parts([under(f"{_sparsity_of(layer)}/", part) for part in parts])
    return find_cuts(values, active[draw_units(layer, active >= FEWEST, values.shape[1])])


def _names(analysis: Analysis) -> dict[str, int]:
    """The names of all arrays of peaks, with the units that each is of."""
    units = {False: len(analysis.neurons)} | (
        {True: analysis.controls} if analysis.controls else {}
    )
    return {
        prefix_of(layer, controls=controls) + tail: count
        for layer in analysis.scanned
        for controls, count in units.items()
        for tail in analysis.request.tails
    }


def _name(part: int) -> str:
    return f"{part:03d}"


def _sample_file(analysis: Analysis) -> str:
    return f"{analysis.work}/calibration/windows.npz"


def _peaks_file(analysis: Analysis, part: int) -> str:
    return f"{analysis.work}/calibration/peaks-{part:03d}.npz"


def measure_fits(analysis: Analysis, model: LoadedModel, *, should_stop: Stop = never) -> None:
    """Says how well the dictionaries of the scanned layers fit, on some calibration windows.

    Raises Cancelled.
    """
    scanned = {layer: analysis.latents[layer] for layer in analysis.scanned if analysis.latents}
    if not scanned:
        return
    pad = frame(model.tokenizer, analysis.card, analysis.request.tokens.bos).pad
    blocks = list(until(_some_blocks(analysis), should_stop))
    fits = {
        str(layer): asdict(measure_on_windows(model, latents, until(blocks, should_stop), pad))
        for layer, latents in scanned.items()
    }
    text = json.dumps(fits, allow_nan=False).encode()
    write_arrays(analysis.store, fits_file(analysis), {"fits": np.frombuffer(text, np.uint8)})


def _some_blocks(analysis: Analysis) -> Iterator[Windows]:
    """The first calibration windows, as far as some thousand tokens."""
    tokens = 0
    for part in range(count_parts(analysis)):
        for windows in _read_sample(analysis, part):
            if tokens >= FIT_TOKENS:
                return
            tokens += len(windows.ids)
            yield windows
