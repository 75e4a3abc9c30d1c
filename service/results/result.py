"""Results, read from the store: scalar tables held in memory, one report by its row group.

Knows nothing of HTTP.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from polyseme.contract.errors import Gone, NotFound, PolysemeError, ResultDamaged, Unavailable
from polyseme.contract.files.columns import IN_HEADS
from polyseme.contract.files.results import (
    GHOSTS,
    MANIFEST,
    NEURONS,
    REPORT_ROWS,
    TOKENS,
    report_file,
)
from polyseme.contract.files.seals import (
    HashedFile,
    OtherFormat,
    Seal,
    describe_difference,
    find_wrong_sizes,
    parse_manifest,
    seal_stream,
    seals_of,
)
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.records.job import Job
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
SEALED_RESULTS = 256  # results of which a process keeps the seals
_CHUNK = 1 << 18
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
        # Not as a memory map: reading one whose file was cut off ends the process.
        self._file = pq.ParquetFile(path, page_checksum_verification=True)
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


@dataclass(frozen=True)
class _Sealed:
    """What of a manifest reading the result takes."""

    seals: Mapping[str, Seal]
    head_size: int | None  # units that lie in one attention head; None of units in none

    def place(self, row: dict[str, Any]) -> dict[str, Any]:
        """A report's row with the head that the unit lies in."""
        size = self.head_size
        places = (None, None) if size is None else divmod(row["neuron"], size)
        return row | dict(zip((c.name for c in IN_HEADS), places, strict=True))


def _damaged(job: str, name: str, trouble: str) -> ResultDamaged:
    return ResultDamaged(
        f"{name} of {job} is damaged: {trouble}. Submit the job again, or have the operator run "
        f"polyseme verify --repair"
    )


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
        self._sealed: SharedLru[_Sealed] = SharedLru(SEALED_RESULTS)
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader")

    def scalars(self, job: str) -> Scalars:
        opened = partial(self.reading_whole, job, NEURONS)
        return self._scalars.get(job, lambda: read_scalars(opened, self._sealed_of(job).head_size))

    def controls(self, job: str) -> Scalars:
        """Of its control units, none where the result has none. Raises Gone, ResultDamaged."""
        return self._controls.get(job, lambda: self._read_controls(job))

    def has_controls(self, job: str) -> bool:
        return GHOSTS in self.seals(job)

    def _read_controls(self, job: str) -> Scalars:
        if not self.has_controls(job):
            return read_controls(None)
        with self.reading_whole(job, GHOSTS) as path:
            return read_controls(path)

    def vocabulary(self, job: str) -> Vocabulary:
        return self._vocabularies.get(job, lambda: self._read_vocabulary(job))

    def _read_vocabulary(self, job: str) -> Vocabulary:
        with self.reading_whole(job, TOKENS) as path:
            return read_vocabulary(path)

    def page(self, job: str, asked: Hashable, write: Callable[[], WrittenPage]) -> WrittenPage:
        """The page that answers a query of a job's neurons or control units; asked: all that
        decides it.

        Whether the job is there still, and whose it is, is not asked here.
        """
        return self._pages.get((job, asked), write)

    def report(self, job: str, layer: int, neuron: int) -> dict[str, Any]:
        """The report row of one neuron, from its layer's file alone.

        Raises NotFound, Gone, ResultDamaged.
        """
        row, name = None, report_file(layer)
        if name in self.seals(job):
            with self._suspecting(job, name):
                row = self._open_report(job, layer).read(neuron)
        if row is not None and row["layer"] == layer:
            return self._sealed_of(job).place(row)
        if self.scalars(job).has(layer, neuron):
            raise ResultDamaged(f"{name} of {job} does not fit {NEURONS}")
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
        with suppress(PolysemeError, OSError, pa.ArrowException):
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

    def dictionaries(self, job: Job) -> dict[int, str]:
        """By layer the id of the dictionary whose latents its units are; nothing of other units."""
        names = job.analysis.neurons.dictionary
        return dict(zip(self.layers(job.id), names, strict=False)) if names else {}

    def rows(self, job: str, layer: int) -> Iterator[dict[str, Any]]:
        """All report rows of a layer, a row group in memory at a time."""
        with (
            self.reading(job, report_file(layer)) as path,
            pq.ParquetFile(path, page_checksum_verification=True) as file,
        ):
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group, use_threads=False).to_pylist()
                yield from map(self._sealed_of(job).place, rows)

    def read(self, job: str, name: str) -> bytes:
        """A whole small file of the result. Raises Gone, ResultDamaged."""
        with open(self.local_file(job, name), "rb") as f:
            content = f.read()
        if name == MANIFEST:
            self._parse_manifest(job, content)
        elif seal_stream(io.BytesIO(content)) != self.seals(job)[name]:
            self._check(job, name)
        return content

    def stream(self, job: str, name: str) -> Iterator[bytes]:
        """A file in pieces. Raises ResultDamaged before the last one, if it is not what was
        written.
        """
        if name == MANIFEST:
            yield self.read(job, name)
            return
        found = hashlib.sha256()
        with open(self.local_file(job, name), "rb") as f:
            piece = f.read(_CHUNK)
            found.update(piece)
            while more := f.read(_CHUNK):
                yield piece
                found.update(more)
                piece = more
        if found.hexdigest() != self.seals(job)[name].sha256:
            self._check(job, name)
        yield piece

    @contextmanager
    def reading(self, job: str, name: str) -> Iterator[str]:
        """A file's path on this machine. Where reading it fails, it is looked at whole.

        Raises Gone, ResultDamaged.
        """
        with self._suspecting(job, name):
            yield self.local_file(job, name)

    @contextmanager
    def reading_whole(self, job: str, name: str) -> Iterator[str]:
        """Of a file that is read to its end anyhow: it is looked at whole before."""
        with self.reading(job, name) as path:
            with open(path, "rb") as f:
                if seal_stream(f) != self.seals(job)[name]:
                    self._check(job, name)
            yield path

    @contextmanager
    def _suspecting(self, job: str, name: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, LookupError, TypeError, pa.ArrowException) as e:
            # What Arrow finds wrong in a file has no number, unlike trouble with the disk.
            if not isinstance(e, OSError) or e.errno in (None, errno.ENOENT):
                self._check(job, name)
            raise

    def seals(self, job: str) -> Mapping[str, Seal]:
        """Of the result's files, which were seen to have the sizes they were written with.

        Raises Gone, ResultDamaged.
        """
        return self._sealed_of(job).seals

    def _sealed_of(self, job: str) -> _Sealed:
        return self._sealed.get(job, lambda: self._read_sealed(job))

    def _read_sealed(self, job: str) -> _Sealed:
        folder = Layout.result(job)
        try:
            manifest = self._parse_manifest(job, self._store.read(f"{folder}/{MANIFEST}"))
        except FileNotFoundError as e:
            raise self._missing(job, MANIFEST) from e
        seals = seals_of(manifest)
        for name, trouble in find_wrong_sizes(self._store, folder, seals).items():
            raise _damaged(job, name, trouble)
        return _Sealed(seals, (manifest.get("site") or {}).get("head_size"))

    def _parse_manifest(self, job: str, content: bytes) -> dict[str, Any]:
        try:
            return parse_manifest(content)
        except OtherFormat as e:
            raise ResultDamaged(f"the result of {job} is {e}") from e
        except ValueError as e:
            raise _damaged(job, MANIFEST, str(e)) from e

    def _check(self, job: str, name: str) -> None:
        """Reads a file of the store that is suspect, and lets go of what is kept of its result.

        Raises Gone, ResultDamaged; Unavailable where only a copy here was damaged.
        """
        seal = self.seals(job)[name]
        self.forget(job)
        try:
            with self._store.open(f"{Layout.result(job)}/{name}") as f:
                found = seal_stream(f)
        except FileNotFoundError as e:
            raise self._missing(job, name) from e
        if found != seal:
            raise _damaged(job, name, describe_difference(found, seal))
        if not self._store.is_local:
            raise Unavailable(f"a copy of {name} of {job} was damaged", retry_after_s=1)

    def _missing(self, job: str, name: str) -> PolysemeError:
        if self._store.file_sizes(Layout.result(job)):
            return _damaged(job, name, "it is not there")
        return Gone(f"the result of {job} is no longer in the store")

    def local_file(self, job: str, name: str) -> str:
        """A path on this machine; what lies on object storage is copied to the cache once.

        Raises Gone, ResultDamaged.
        """
        seal = self.seals(job).get(name)
        path = f"{Layout.result(job)}/{name}"
        if self._store.is_local:
            stored = self._store.local_path(path)
            if not os.path.exists(stored):
                self._store.check()
                self.forget(job)
                raise self._missing(job, name)
            return stored
        copy = self._cache / path
        if not copy.exists():
            self._fetch(path, copy, job, seal)
        return str(copy)

    def forget(self, job: str) -> None:
        """Lets go of what is kept of a job."""
        self._sealed.drop(lambda key: key == job)
        self._scalars.drop(lambda key: key == job)
        self._controls.drop(lambda key: key == job)
        self._vocabularies.drop(lambda key: key == job)
        self._reports.drop(lambda key: key[0] == job)
        self._pages.drop(lambda key: key[0] == job)
        shutil.rmtree(self._cache / Layout.result(job), ignore_errors=True)

    def _fetch(self, path: str, copy: Path, job: str, seal: Seal | None) -> None:
        copy.parent.mkdir(parents=True, exist_ok=True)
        temporary = copy.with_name(f"{copy.name}.{secrets.token_hex(6)}.tmp")
        try:
            with self._store.open(path) as source, open(temporary, "wb") as target:
                hashed = HashedFile(target)
                shutil.copyfileobj(source, hashed, 1 << 20)
            if seal not in (None, found := hashed.seal()):
                raise _damaged(job, copy.name, describe_difference(found, seal))
            os.replace(temporary, copy)
        except FileNotFoundError as e:
            raise self._missing(job, copy.name) from e
        finally:
            temporary.unlink(missing_ok=True)
