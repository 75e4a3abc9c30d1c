"""A layer's reports from another job's result, of which the work folder holds a copy: as they are,
or with new senses.

What comes out is what a scan would have given, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
import pyarrow.compute as pc

from polyseme.contract.files.results import fires_file, ghosts_file, report_file
from polyseme.contract.files.store import Store
from polyseme.workers.analysis.machine.stopping import Stop, never
from polyseme.workers.analysis.reports.result_files import (
    keep_scalars,
    opened_table,
    read_control_scalars,
    read_layer_scalars,
    read_vectors_at,
)
from polyseme.workers.analysis.senses.layer_senses import Peaks
from polyseme.workers.analysis.steps.analysis import Analysis, controls_file, scalars_file
from polyseme.workers.analysis.steps.copies import (
    copy_of_layer,
    read_copied_manifest,
    read_copied_seals,
    rows_of_windows,
)
from polyseme.workers.analysis.steps.kept_peaks import write_peaks
from polyseme.workers.analysis.steps.manifest import describe_senses
from polyseme.workers.analysis.steps.regrouping import regroup_layer
from polyseme.workers.analysis.steps.sealing import keep_seals, result_folder
from polyseme.workers.analysis.steps.word_encoder import chosen_encoder


def reuse_layer(analysis: Analysis, layer: int, *, should_stop: Stop = never) -> None:
    """Writes what `merge_layer` writes for a layer that was scanned. Raises Cancelled."""
    folder = copy_of_layer(analysis, layer)
    assert folder is not None
    if _has_our_senses(analysis, folder):
        _take_layer(analysis, folder, layer)
    else:
        regroup_layer(analysis, folder, layer, should_stop=should_stop)
    if analysis.request.senses.enabled:
        _note_peaks(analysis, folder, layer)


def _has_our_senses(analysis: Analysis, folder: str) -> bool:
    """Whether the senses of a result with the same scan are those that are asked for."""
    if not analysis.request.senses.enabled:
        return True
    manifest = read_copied_manifest(analysis.store, folder)
    same: bool = manifest["request"]["senses"] == analysis.request.to_dict()["senses"]
    return same and manifest["senses"] == describe_senses(analysis, chosen_encoder(analysis))


def _take_layer(analysis: Analysis, folder: str, layer: int) -> None:
    """Raises DamagedFile."""
    store, names = analysis.store, [report_file(layer)]
    if analysis.request.senses.enabled:
        names.append(fires_file(layer))
    if analysis.controls:
        names.append(ghosts_file(layer))
        of_controls = read_control_scalars(store, folder, layer)
        keep_scalars(store, controls_file(analysis, layer), of_controls)
    seals, result = read_copied_seals(store, folder), result_folder(analysis)
    for name in names:
        result.take(folder, name, seals[name])
    keep_scalars(store, scalars_file(analysis, layer), read_layer_scalars(store, folder, layer))
    keep_seals(analysis, layer, result)


def _note_peaks(analysis: Analysis, folder: str, layer: int) -> None:
    columns: dict[str, tuple[str, ...]] = {
        f"{folder}/{report_file(layer)}": ("contexts", "evidence")
    }
    if analysis.controls:
        columns[f"{folder}/{ghosts_file(layer)}"] = ("evidence",)
    window, position = _find_peaks(analysis.store, columns)
    kept = read_vectors_at(analysis.store, folder, window, position)
    nowhere = np.zeros(0, np.int64)
    peaks = Peaks(
        window, position, nowhere, kept.token, kept.word, kept.before, kept.after, kept.near
    )
    write_peaks(analysis, layer, rows_of_windows(analysis.store, folder, window), peaks)


def _find_peaks(
    store: Store, columns: Mapping[str, tuple[str, ...]]
) -> tuple[np.ndarray, np.ndarray]:
    """The different places at which a layer's contexts peak: windows and positions, int64.

    columns: those that hold contexts, by file.
    """
    found = []
    for path, names in columns.items():
        with opened_table(store, path) as file:
            for batch, name in product(file.iter_batches(columns=list(names)), names):
                contexts = batch.column(name).flatten()
                window, position = (
                    pc.struct_field(contexts, n).to_numpy() for n in ("window", "position")
                )
                found.append(np.unique(window.astype(np.int64) << 32 | position))
    keys = np.unique(np.concatenate(found))
    return keys >> 32, keys & 0xFFFF_FFFF
