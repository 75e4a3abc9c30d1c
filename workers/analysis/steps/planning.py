"""The steps before the scan: the corpus is cut into windows, and a sample of them runs to fix the
bands.

Each writes files, whole or not, and depends on nothing but the files of the steps before it. The
sample runs in parts, so that many workers can share it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from torch import Tensor

from polyseme.contract.errors import InvalidRequest
from polyseme.workers.analysis.corpus.plan import Plan, cut_windows, group_blocks, write_plan
from polyseme.workers.analysis.corpus.windows import (
    Window,
    Windows,
    pack,
    read_blocks,
    write_blocks,
)
from polyseme.workers.analysis.files.arrays import read_arrays, reading_arrays, write_arrays
from polyseme.workers.analysis.machine.memory import keeping_freed_arrays
from polyseme.workers.analysis.machine.stopping import Stop, check_stop, never, until
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.models.tokens import frame, tokenize
from polyseme.workers.analysis.scan.out_of_memory import Halving, count_cut, note_cut
from polyseme.workers.analysis.scan.statistics.bands import inner_edges
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.scan.statistics.extremes import find_peaks
from polyseme.workers.analysis.senses.firing import firing_threshold
from polyseme.workers.analysis.steps.analysis import (
    Analysis,
    Report,
    bands_file,
    ignore_tokens,
    run_selected,
)

CALIBRATION_PARTS = 16  # at most: each costs a unit's round trips


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
    if request.senses.vectors == "neuron" and analysis.site.input_energy is None:
        raise InvalidRequest(
            f"vectors 'neuron' compare what a neuron's input weights make of the MLP's input; "
            f"units of the site {analysis.site.name!r} have none: use another kind of vectors",
            pointer="/senses/vectors",
        )
    if request.senses.vectors == "residual+encoder":
        analysis.encoder.get()  # a missing one is better found now than after the scan
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


def calibrate_part(
    analysis: Analysis, model: LoadedModel, part: int, *, should_stop: Stop = never
) -> None:
    """Runs a part of the calibration windows and writes their peaks. Raises Cancelled."""
    with reading_arrays(analysis.store, _sample_file(analysis)) as file:
        blocks = list(read_blocks(io.BytesIO(file(_name(part)).tobytes())))
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
    """The peaks of the blocks' windows, (W, N) float32 by "layer/tail"."""
    # Made beforehand: arrays for each block would lie between the large ones of the forward pass
    # and break the heap up.
    shape = sum(map(len, blocks)), len(analysis.neurons)
    peaks = {name: np.empty(shape, np.float32) for name in _names(analysis)}
    pad = frame(model.tokenizer, analysis.card, analysis.request.tokens.bos).pad
    first = 0
    for windows in halving.cut(blocks):
        check_stop(should_stop)
        block, rows = Block(windows, 0, pad, model.device), slice(first, first + len(windows))

        def receive(
            layer: int, activations: Tensor, block: Block = block, rows: slice = rows
        ) -> None:
            for tail in analysis.request.tails:
                peaks[f"{layer:03d}/{tail}"][rows] = (
                    find_peaks(block, activations, tail).float().cpu().numpy()
                )

        run_selected(analysis, model, block, receive, should_stop=should_stop)
        first += len(windows)
    # Whoever lost the lease is not to write beside its successor.
    check_stop(should_stop)
    return peaks


def fix_bands(analysis: Analysis, *, should_stop: Stop = never) -> None:
    """Makes the sampling bands and the firing thresholds of the peaks of all parts.

    Raises Cancelled.
    """
    contexts, paths = (
        analysis.request.contexts,
        [_peaks_file(analysis, part) for part in range(count_parts(analysis))],
    )
    parts = [read_arrays(analysis.store, path) for path in until(paths, should_stop)]
    bands: dict[str, np.ndarray] = {}
    for name in until(_names(analysis), should_stop):
        peaks = np.concatenate([part.pop(name) for part in parts])  # (W, N)
        bands[name] = inner_edges(peaks, contexts.bands, contexts.sampling)
        bands[f"{name}/fires"] = firing_threshold(peaks)
    write_arrays(
        analysis.store, bands_file(analysis), bands | note_cut(count_cut(analysis.store, paths))
    )


def _names(analysis: Analysis) -> list[str]:
    return [f"{layer:03d}/{tail}" for layer in analysis.scanned for tail in analysis.request.tails]


def _name(part: int) -> str:
    return f"{part:03d}"


def _sample_file(analysis: Analysis) -> str:
    return f"{analysis.work}/calibration/windows.npz"


def _peaks_file(analysis: Analysis, part: int) -> str:
    return f"{analysis.work}/calibration/peaks-{part:03d}.npz"
