"""Results, read from the store: scalar tables held in memory, one report by its row group.

Knows nothing of HTTP.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from polyseme.contract.errors import DamagedFile, Gone, NotFound
from polyseme.contract.files.results import GHOSTS, NEURONS, REPORT_ROWS, TOKENS, report_file
from polyseme.contract.files.store import Layout, Store
from polyseme.service.results.lru import SharedLru
from polyseme.service.results.scalars import (
    Scalars,
    Vocabulary,
    read_controls,
    read_scalars,
    read_vocabulary,
)

TABLE_BYTES = 256 << 20  # of scalar tables and vocabularies a process keeps
PAGE_BYTES = 32 << 20  # of written pages of lists a process keeps
OPEN_FILES = 64  # report files a process keeps open
# What a table of few rows takes beside its values: its columns' and their buffers' own objects.
_ENTRY_BYTES = 64 << 10
# What a written page takes beside its rows: above all its query, which fits a request line.
_ASKED_BYTES = 16 << 10


@dataclass(frozen=True)
class WrittenPage:
    """A page of a list as it is sent. A result never changes, so neither does this."""

    rows: bytes  # JSON
    total: int
    next_offset: int | None


class Report:
    """One layer's report file, kept open. A ParquetFile serves one thread at a time."""

    def __init__(self, path: str) -> None:
        self._file = pq.ParquetFile(path, memory_map=True)
        self._lock = threading.Lock()
        self._neurons = self._file.read(["neuron"], use_threads=False)["neuron"].combine_chunks()

    def read(self, neuron: int) -> dict[str, Any] | None:
        row = pc.index(self._neurons, neuron).as_py()
        if row < 0:
            return None
        group, place = divmod(row, REPORT_ROWS)
        with self._lock:
            # Not kept: new memory for the next one costs random reads more than neighbours would
            # save.
            table = self._file.read_row_group(group, use_threads=False)
        report: dict[str, Any] = table.slice(place, 1).to_pylist()[0]
        return report


class Results:
    def __init__(self, store: Store, cache: str) -> None:
        self._store = store
        self._cache = Path(cache)
        self._scalars: SharedLru[Scalars] = SharedLru(
            TABLE_BYTES, lambda s: s.table.nbytes + _ENTRY_BYTES
        )
        self._controls: SharedLru[Scalars] = SharedLru(
            TABLE_BYTES, lambda s: s.table.nbytes + _ENTRY_BYTES
        )
        self._vocabularies: SharedLru[Vocabulary] = SharedLru(
            TABLE_BYTES, lambda v: 2 * v.texts.nbytes
        )
        self._reports: SharedLru[Report] = SharedLru(OPEN_FILES)
        self._pages: SharedLru[WrittenPage] = SharedLru(
            PAGE_BYTES, lambda p: len(p.rows) + _ASKED_BYTES
        )
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader")

    def scalars(self, job: str) -> Scalars:
        return self._scalars.get(job, lambda: read_scalars(partial(self.local_file, job, NEURONS)))

    def controls(self, job: str) -> Scalars:
        """Of its control units. Raises Gone."""
        return self._controls.get(job, lambda: read_controls(self.find_controls(job)))

    def find_controls(self, job: str) -> str | None:
        """Where `ghosts.parquet` is; None of a result without control units. Raises Gone."""
        if self._store.exists(f"{Layout.result(job)}/{GHOSTS}"):
            return self.local_file(job, GHOSTS)
        self.local_file(job, NEURONS)
        return None

    def vocabulary(self, job: str) -> Vocabulary:
        return self._vocabularies.get(job, lambda: read_vocabulary(self.local_file(job, TOKENS)))

    def page(self, job: str, asked: Hashable, write: Callable[[], WrittenPage]) -> WrittenPage:
        """The page that answers a query of a job's neurons or control units; asked: all that
        decides it.

        Whether the job is there still, and whose it is, is not asked here.
        """
        return self._pages.get((job, asked), write)

    def report(self, job: str, layer: int, neuron: int) -> dict[str, Any]:
        """The report row of one neuron, from its layer's file alone.

        Raises NotFound, Gone, DamagedFile.
        """
        try:
            row = self._open_report(job, layer).read(neuron)
        except Gone:
            if self.scalars(job).has(layer, neuron):
                raise
            row = None
        if row is not None and row["layer"] == layer:
            return row
        if self.scalars(job).has(layer, neuron):
            raise DamagedFile(f"{report_file(layer)} of {job} does not fit {NEURONS}")
        raise NotFound(f"layer {layer}, neuron {neuron} is not among the neurons of {job}")

    def _open_report(self, job: str, layer: int) -> Report:
        return self._reports.get(
            (job, layer), lambda: Report(self.local_file(job, report_file(layer)))
        )

    def warm(self, job: str) -> None:
        """Begins to load what lists and reports of a job read, in a thread of its own, unless it is
        there.
        """
        if job not in self._scalars:
            self._loader.submit(self._load, job)

    def _load(self, job: str) -> None:
        # What is wrong with it is said to whoever asks for it.
        with suppress(Gone, DamagedFile, OSError, pa.ArrowException):
            if job not in self._scalars:
                self.scalars(job)
                self.vocabulary(job)
            # A report file's footer takes longer to read than a report. From object storage only
            # what is asked for.
            if self._store.is_local:
                for layer in self.layers(job)[:OPEN_FILES]:
                    self._open_report(job, layer)

    def layers(self, job: str) -> list[int]:
        return self.scalars(job).layers

    def rows(self, job: str, layer: int) -> Iterator[dict[str, Any]]:
        """All report rows of a layer, a row group in memory at a time."""
        with pq.ParquetFile(self.local_file(job, report_file(layer)), memory_map=True) as file:
            for group in range(file.num_row_groups):
                yield from file.read_row_group(group, use_threads=False).to_pylist()

    def read(self, job: str, name: str) -> bytes:
        """A whole small file of the result. Raises Gone."""
        with open(self.local_file(job, name), "rb") as f:
            return f.read()

    def local_file(self, job: str, name: str) -> str:
        """A path on this machine; what lies on object storage is copied to the cache once.

        Raises Gone.
        """
        path = f"{Layout.result(job)}/{name}"
        if self._store.is_local:
            stored = self._store.local_path(path)
            if not os.path.exists(stored):
                self._store.check()
                raise Gone(f"{name} of {job} is no longer in the store")
            return stored
        copy = self._cache / path
        if not copy.exists():
            self._fetch(path, copy, job)
        return str(copy)

    def forget(self, job: str) -> None:
        """Lets go of what is kept of a deleted job."""
        self._scalars.drop(lambda key: key == job)
        self._controls.drop(lambda key: key == job)
        self._vocabularies.drop(lambda key: key == job)
        self._reports.drop(lambda key: key[0] == job)
        self._pages.drop(lambda key: key[0] == job)
        shutil.rmtree(self._cache / Layout.result(job), ignore_errors=True)

    def _fetch(self, path: str, copy: Path, job: str) -> None:
        copy.parent.mkdir(parents=True, exist_ok=True)
        temporary = copy.with_name(f"{copy.name}.{secrets.token_hex(6)}.tmp")
        try:
            with self._store.open(path) as source, open(temporary, "wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            os.replace(temporary, copy)
        except FileNotFoundError as e:
            raise Gone(f"{path} of {job} is no longer in the store") from e
        finally:
            temporary.unlink(missing_ok=True)
