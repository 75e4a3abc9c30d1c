"""Which tokens no unit of a layer counts, because they are sinks there: by a limit for each layer,
from the calibration windows.

The limits are fixed with the bands, before the scan. Until then, in the calibration itself, they
are made of the norms that each of its parts has measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from polyseme.workers.analysis.corpus.windows import Windows
from polyseme.workers.analysis.files.arrays import read_arrays
from polyseme.workers.analysis.machine.stopping import Stop, check_stop, until
from polyseme.workers.analysis.models.capture import Tap
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.models.tokens import frame
from polyseme.workers.analysis.scan.out_of_memory import Halving
from polyseme.workers.analysis.scan.sinks import choose_limit, find_sinks, measure_norms
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.steps.analysis import Analysis, bands_file, run_points
from polyseme.workers.analysis.steps.copies import copy_of_layer, read_copied_manifest

_LIMITS = "sinks/"  # before the names of their arrays, in the file of the bands

Limits = Mapping[int, float]  # by layer; of no layer where sinks count


class Counting:
    """A block that runs, as each layer counts its tokens."""

    def __init__(
        self, analysis: Analysis, model: LoadedModel, block: Block, limits: Limits
    ) -> None:
        self._block, self._limits = block, limits
        self._blocks: dict[int, Block] = {}
        points = analysis.site.stream_points(model.parts, limits)
        self.tap = Tap(points, self._note) if limits else None  # to run the block with

    def _note(self, layer: int, hidden: Tensor) -> None:
        sinks = find_sinks(measure_norms(hidden), self._limits[layer])
        self._blocks[layer] = self._block.without(sinks)

    def at(self, layer: int) -> Block:
        """Once the layer's stream was handed on."""
        return self._blocks[layer] if self._limits else self._block


def measure_part(
    analysis: Analysis,
    model: LoadedModel,
    blocks: Sequence[Windows],
    halving: Halving,
    should_stop: Stop,
) -> dict[str, np.ndarray]:
    """The norms of the counted tokens of some blocks, (T,) float32 by layer. Raises Cancelled."""
    counted = sum(int(windows.counted.sum()) for windows in blocks)
    norms = {layer: np.empty(counted, np.float32) for layer in analysis.scanned}
    points = analysis.site.stream_points(model.parts, analysis.scanned)
    pad = frame(model.tokenizer, analysis.card, analysis.request.tokens.bos).pad
    first = 0
    for windows in halving.cut(blocks):
        check_stop(should_stop)
        block = Block(windows, 0, pad, model.device)
        rows = slice(first, first + block.counted_tokens)

        def note(layer: int, hidden: Tensor, block: Block = block, rows: slice = rows) -> None:
            check_stop(should_stop)
            norms[layer][rows] = measure_norms(hidden)[block.counted].cpu().numpy()

        run_points(analysis, model, block, points, note)
        first = rows.stop
    check_stop(should_stop)
    return {f"{layer:03d}": found for layer, found in norms.items()}


def choose_limits(analysis: Analysis, paths: Iterable[str], should_stop: Stop) -> dict[int, float]:
    """By layer, from the files with the norms of all parts. Raises Cancelled, DamagedFile."""
    factor = analysis.request.tokens.exclude_sinks
    if factor is None:
        return {}
    parts = [read_arrays(analysis.store, path) for path in until(paths, should_stop)]
    return {
        layer: choose_limit(np.concatenate([part[f"{layer:03d}"] for part in parts]), factor)
        for layer in analysis.scanned
    }


def note_limits(limits: Limits) -> dict[str, np.ndarray]:
    """For the file of the bands."""
    return {
        f"{_LIMITS}{layer:03d}": np.array([limit], np.float32) for layer, limit in limits.items()
    }


def read_limits(analysis: Analysis) -> dict[int, float]:
    """Of the layers that are scanned. Raises DamagedFile."""
    if analysis.request.tokens.exclude_sinks is None or not analysis.scanned:
        return {}
    found = read_arrays(analysis.store, bands_file(analysis), _LIMITS)
    return {layer: float(found[f"{layer:03d}"][0]) for layer in analysis.scanned}


def describe_sinks(analysis: Analysis) -> dict[str, Any] | None:
    """For the manifest: the limit of each layer, that a token's residual stream is no longer than;
    None where it has none. None where sinks count. Raises DamagedFile.
    """
    factor = analysis.request.tokens.exclude_sinks
    if factor is None:
        return None
    limits, own = {}, read_limits(analysis)
    for layer in analysis.layers:
        if (folder := copy_of_layer(analysis, layer)) is not None:
            limits[str(layer)] = _read_copied(analysis, folder, layer)
        else:
            limits[str(layer)] = own[layer] if np.isfinite(own[layer]) else None
    return {"factor": factor, "limits": limits}


def _read_copied(analysis: Analysis, folder: str, layer: int) -> float | None:
    limit: float | None = read_copied_manifest(analysis.store, folder)["sinks"]["limits"][
        str(layer)
    ]
    return limit
