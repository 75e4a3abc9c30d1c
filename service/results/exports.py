"""Whole results as streams: a zip of the Parquet files, or one report a line."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from polyseme.contract.files.results import GHOSTS, MANIFEST, NEURONS, SUMMARY, TOKENS, report_file
from polyseme.service.json_text import dump_json
from polyseme.service.results.reports import NO_DICTIONARIES, build_report
from polyseme.service.results.result import Results


def stream_zip(
    results: Results, job: str, layers: Sequence[int], modified_at: float
) -> Iterator[bytes]:
    """A zip of the whole result, with these layers' reports; stored, because Parquet is
    compressed.
    """
    controls = [GHOSTS] if results.has_controls(job) else []
    names = [MANIFEST, SUMMARY, NEURONS, *controls, TOKENS, *map(report_file, layers)]
    moment = datetime.fromtimestamp(modified_at, UTC).timetuple()[:6]
    sink = Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for name in names:
            with archive.open(
                zipfile.ZipInfo(f"{job}/{name}", moment), "w", force_zip64=True
            ) as entry:
                for chunk in results.stream(job, name):
                    entry.write(chunk)
                    yield sink.take()
    yield sink.take()


def stream_lines(
    results: Results,
    job: str,
    model: str,
    layers: Sequence[int],
    base: str = "",
    *,
    site: str = "mlp",
    dictionaries: Mapping[int, str] = NO_DICTIONARIES,
) -> Iterator[bytes]:
    """One whole report a line, by layer and neuron; a row group of 64 in memory at a time.

    base: the path that the service lies below; site, dictionaries: as `build_report` takes them.
    """
    vocabulary = results.vocabulary(job)
    for layer in layers:
        for row in results.rows(job, layer):
            report = build_report(
                row, job, model, vocabulary, base, site=site, dictionaries=dictionaries
            )
            yield dump_json(report) + b"\n"


def stream_control_lines(results: Results, job: str, layers: Sequence[int]) -> Iterator[bytes]:
    """One control unit a line, by layer and number."""
    wanted = set(layers)
    for row in results.controls(job).table.to_pylist():
        if row["layer"] in wanted:
            yield dump_json({"object": "control", "job": job, **row}) + b"\n"


def gzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()


class Sink:
    """A file for `zipfile` that only grows and is emptied by its reader."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        whole = b"".join(self._parts)
        self._parts.clear()
        return whole
