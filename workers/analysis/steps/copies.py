"""Copies of other jobs' results in a job's own work folder: the files of the layers that it takes
over from each.

They are checked as they are taken. From then on it makes no difference what becomes of the
results.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from polyseme.contract.errors import AnalysisError, DamagedFile
from polyseme.contract.files.results import (
    BACKGROUND,
    GHOSTS,
    LANGUAGES,
    MANIFEST,
    NEURONS,
    TOKENS,
    VECTORS,
    fires_file,
    ghosts_file,
    report_file,
)
from polyseme.contract.files.seals import Seal, SealedFolder, seals_of
from polyseme.contract.files.store import Store
from polyseme.workers.analysis.machine.stopping import Stop, check_stop, never
from polyseme.workers.analysis.reports.result_files import (
    VECTOR_ROWS,
    opened_table,
    read_manifest,
)
from polyseme.workers.analysis.steps.analysis import Analysis
from polyseme.workers.analysis.steps.document_languages import has_languages


class UselessResult(Exception):
    """Of another job's result: it is not there, not whole, or not what was looked for.

    Nobody's error.
    """

    def __init__(self, message: str, *, layers: Collection[int] | None = None) -> None:
        super().__init__(message)
        self.layers = layers  # that are of no use; None: the whole is not


def copy_folder(analysis: Analysis, job: str) -> str:
    return f"{analysis.work}/reused/{job}"


def first_copy(analysis: Analysis) -> str:
    """The folder of any result, for what is the same in all of them."""
    return copy_folder(analysis, next(iter(analysis.reused)))


def copy_of_layer(analysis: Analysis, layer: int) -> str | None:
    """The folder with the files of a layer that is taken over; None of one that is scanned."""
    return next(
        (copy_folder(analysis, job) for job, layers in analysis.reused.items() if layer in layers),
        None,
    )


def copy_result(
    analysis: Analysis, job: str, source: str, address: str, *, should_stop: Stop = never
) -> None:
    """Copies what the layers that are taken over from a job need. source: the folder of its result.

    Every byte is read once. Raises UselessResult when that, or some layer of it, cannot be used for
    a scan of this address, and Cancelled.
    """
    folder, store = copy_folder(analysis, job), analysis.store
    copied, useless = SealedFolder(store, folder), dict[int, Exception]()
    try:
        store.copy(f"{source}/{MANIFEST}", f"{folder}/{MANIFEST}")
        manifest = read_manifest(store, folder)
        if manifest["scan_address"] != address or manifest["blocks_in_parts"]:
            raise ValueError("its scan is another")
        seals = seals_of(manifest)
        for name in _files_of_all(analysis):
            check_stop(should_stop)
            copied.take(source, name, seals[name])
    except (OSError, ValueError, KeyError, AnalysisError) as e:
        raise UselessResult(f"{source}: {e}") from e
    for layer in analysis.reused[job]:
        try:
            for name in _files_of_layer(analysis, layer):
                check_stop(should_stop)
                copied.take(source, name, seals[name])
        except (OSError, KeyError, DamagedFile) as e:
            useless[layer] = e
    if useless:
        raise UselessResult(f"{source}: {next(iter(useless.values()))}", layers=useless.keys())


def _files_of_all(analysis: Analysis) -> list[str]:
    """Of what is the same for every layer, or one table of them all."""
    names = [NEURONS]
    if analysis.request.senses.enabled:
        names += [TOKENS, VECTORS, BACKGROUND]
    if has_languages(analysis):
        names.append(LANGUAGES)
    return [*names, GHOSTS] if analysis.controls else names


def _files_of_layer(analysis: Analysis, layer: int) -> list[str]:
    names = [report_file(layer)]
    if analysis.request.senses.enabled:
        names.append(fires_file(layer))
    return [*names, ghosts_file(layer)] if analysis.controls else names


def read_copied_plan(analysis: Analysis) -> dict[str, Any]:
    """The plan of a job that scans nothing, as the manifest of any result that it takes layers from
    has it.
    """
    plan: dict[str, Any] = read_copied_manifest(analysis.store, first_copy(analysis))["plan"]
    return plan


def read_copied_manifest(store: Store, folder: str) -> dict[str, Any]:
    """Raises DamagedFile."""
    try:
        return read_manifest(store, folder)
    except (AnalysisError, ValueError, KeyError) as e:
        path = f"{folder}/{MANIFEST}"
        raise DamagedFile(f"{path} is damaged: {e}", path=path) from e


def read_copied_seals(store: Store, folder: str) -> dict[str, Seal]:
    """Raises DamagedFile."""
    return seals_of(read_copied_manifest(store, folder))


def rows_of_windows(store: Store, folder: str, windows: np.ndarray) -> np.ndarray:
    """Where each window comes in the order in which they ran, (U,) int64. windows: (U,), each with
    a kept vector.
    """
    with opened_table(store, f"{folder}/{VECTORS}") as file:
        kept = file.read(columns=["window", "row"])
    window, first = np.unique(kept.column("window").to_numpy(), return_index=True)
    row = kept.column("row").to_numpy()[first]
    rows: np.ndarray = row[np.searchsorted(window, windows)].astype(np.int64)
    return rows


def only_copy(analysis: Analysis, vectors: int) -> str | None:
    """The folder of the one result that all layers come from, if it keeps exactly so many
    vectors.
    """
    if analysis.scanned or len(analysis.reused) > 1:
        return None
    folder = first_copy(analysis)
    with opened_table(analysis.store, f"{folder}/{VECTORS}") as file:
        return folder if file.metadata.num_rows == vectors else None


def read_copied_vectors(analysis: Analysis, keys: np.ndarray) -> Iterator[np.ndarray]:
    """The vectors at some places, in pieces of (u, width) float16; a few row groups in memory.

    keys: (U,) int64, row << 32 | position, ascending, each in one of the copies at least.
    """
    with ExitStack() as stack:
        copies = [
            _Copied(
                stack.enter_context(
                    opened_table(analysis.store, f"{copy_folder(analysis, job)}/{VECTORS}")
                )
            )
            for job in analysis.reused
        ]
        for first in range(0, len(keys), VECTOR_ROWS):
            wanted = keys[first : first + VECTOR_ROWS]
            found = np.empty((len(wanted), copies[0].width), np.float16)
            for copied in copies:
                copied.fill(wanted, found)
            yield found


class _Copied:
    """An open file of vectors."""

    def __init__(self, file: pq.ParquetFile) -> None:
        self._file = file
        places = file.read(columns=["row", "position"])
        row, position = (
            places.column(name).to_numpy().astype(np.int64) for name in ("row", "position")
        )
        self._keys = row << 32 | position
        self.width: int = file.schema_arrow.field("vector").type.list_size

    def fill(self, wanted: np.ndarray, found: np.ndarray) -> None:
        """Puts the vectors at those of the wanted keys that it has into their rows of `found`."""
        place = np.searchsorted(self._keys, wanted).clip(max=len(self._keys) - 1)
        held = self._keys[place] == wanted
        if held.any():
            at = place[held]
            groups = range(at[0] // VECTOR_ROWS, at[-1] // VECTOR_ROWS + 1)
            column = (
                self._file.read_row_groups(list(groups), columns=["vector"])
                .column("vector")
                .combine_chunks()
            )
            vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, self.width)
            found[held] = vectors[at - groups[0] * VECTOR_ROWS]
