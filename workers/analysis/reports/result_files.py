"""Writes a result's files in the schemas of `polyseme.contract.files.results`.

Columns in, Parquet out.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from polyseme.contract.errors import AnalysisError, DamagedFile
from polyseme.contract.files.results import (
    GHOST_SCALARS,
    GHOSTS,
    MANIFEST,
    NEURONS,
    REPORT_ROWS,
    SCALARS,
    SUMMARY,
    TOKENS,
    VECTORS,
    VOCABULARY,
    fill_up,
    ghosts_file,
    report_file,
    vectors_schema,
)
from polyseme.contract.files.seals import (
    OtherFormat,
    Seal,
    SealedFolder,
    Writes,
    format_manifest,
    parse_manifest,
)
from polyseme.contract.files.store import Store
from polyseme.workers.analysis.files.arrays import missing, read_arrays, write_arrays

_SCALAR_ROWS = 65_536
VECTOR_ROWS = 8192  # of a row group of the vectors' file


def write_reports(result: Writes, layer: int, reports: pa.Table) -> None:
    with result.writing(report_file(layer)) as f:
        # Groups this small gain nothing from dictionaries and statistics, and open more slowly with
        # them.
        options: dict[str, Any] = {"use_dictionary": False, "write_statistics": False}
        options |= {"row_group_size": REPORT_ROWS, "version": "2.6", "write_page_checksum": True}
        pq.write_table(reports, f, compression="zstd", **options)


def write_control_contexts(result: Writes, layer: int, contexts: pa.Table) -> None:
    with result.writing(ghosts_file(layer)) as f:
        pq.write_table(contexts, f, compression="zstd", version="2.6", write_page_checksum=True)


def write_scalars(result: Writes, name: str, scalars: pa.Table) -> None:
    with result.writing(name) as f:
        # Read whole by every API process: lz4 unpacks in half the time of zstd, for a tenth more
        # bytes.
        options: dict[str, Any] = {
            "row_group_size": _SCALAR_ROWS,
            "version": "2.6",
            "write_page_checksum": True,
        }
        pq.write_table(scalars, f, compression="lz4", **options)


def keep_scalars(store: Store, path: str, scalars: pa.Table) -> None:
    """For `read_scalars`: with a checksum, which a Parquet file's footer has not."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, scalars.schema) as writer:
        writer.write_table(scalars)
    write_arrays(store, path, {"scalars": np.frombuffer(sink.getvalue(), np.uint8)})


def read_scalars(store: Store, path: str) -> pa.Table:
    """Raises DamagedFile."""
    with pa.ipc.open_stream(read_arrays(store, path)["scalars"].tobytes()) as reader:
        return reader.read_all()


def write_vectors(
    result: Writes,
    width: int,
    places: Mapping[str, np.ndarray | pa.Array],
    pieces: Iterable[np.ndarray],
) -> None:
    """places: the other columns, a row for each vector; pieces: the vectors in the same order, (u,
    width) float16.
    """
    schema, first = vectors_schema(width), 0
    options = {"compression": "none", "write_page_checksum": True}
    with (
        result.writing(VECTORS) as f,
        pq.ParquetWriter(f, schema, **options) as writer,
    ):
        for vectors in _in_pieces_of(VECTOR_ROWS, pieces):
            end = first + len(vectors)
            flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), width)
            columns = [
                pa.array(places[f.name][first:end]).cast(f.type) for f in schema if f.name in places
            ]
            writer.write_table(pa.table([*columns, flat], schema=schema))
            first = end


@contextmanager
def opened_table(store: Store, path: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file of a result to read. Raises DamagedFile, also when it is not there."""
    with _reading_table(store, path) as f:
        yield pq.ParquetFile(f, page_checksum_verification=True)


@contextmanager
def _reading_table(store: Store, path: str) -> Iterator[IO[bytes]]:
    try:
        with store.open(path) as f:
            yield f
    except FileNotFoundError as e:
        raise missing(path) from e
    except (OSError, pa.ArrowException) as e:
        # What Arrow finds wrong in a file has no number, unlike trouble with the disk.
        if isinstance(e, OSError) and e.errno is not None:
            raise
        raise DamagedFile(f"{path} is damaged: {e}", path=path) from e


def read_layer_scalars(store: Store, folder: str, layer: int) -> pa.Table:
    """Of a finished result, as they were written: a file calls the items of lists otherwise.

    Raises DamagedFile.
    """
    table = fill_up(_read_layer(store, f"{folder}/{NEURONS}", layer), SCALARS)
    return table.select(SCALARS.names).cast(SCALARS)


def read_control_scalars(store: Store, folder: str, layer: int) -> pa.Table:
    """The same of the layer's control units. Raises DamagedFile."""
    return _read_layer(store, f"{folder}/{GHOSTS}", layer).cast(GHOST_SCALARS)


def _read_layer(store: Store, path: str, layer: int) -> pa.Table:
    with _reading_table(store, path) as f:
        return pq.read_table(f, filters=pc.field("layer") == layer, page_checksum_verification=True)


@dataclass(frozen=True, eq=False)
class KeptVectors:
    """What a result keeps of some places; zero, "" and -1 where it keeps nothing. U of them."""

    vector: np.ndarray  # (U, width) float16
    token: np.ndarray  # (U,) int32
    word: pa.Array  # (U,)
    before: pa.Array  # (U,)
    after: pa.Array  # (U,)
    near: np.ndarray  # (U, 9) int32


def read_vectors_at(
    store: Store, folder: str, window: np.ndarray, position: np.ndarray
) -> KeptVectors:
    """A row group in memory at a time.

    window, position: (U,) int64, ascending, each place once.
    """
    keys = window << 32 | position
    with opened_table(store, f"{folder}/{VECTORS}") as file:
        width, reach = (file.schema_arrow.field(name).type.list_size for name in ("vector", "near"))
        found = np.zeros((len(keys), width), np.float16)
        token = np.zeros(len(keys), np.int32)
        near = np.full((len(keys), reach), -1, np.int32)
        texts = {name: [pa.array([""], pa.string())] for name in ("word", "before", "after")}
        names = ["window", "position", "token", *texts, "near", "vector"]
        origin, behind = np.zeros(len(keys), np.int64), 1
        for batch in file.iter_batches(VECTOR_ROWS, columns=names):
            own = (
                batch.column("window").to_numpy().astype(np.int64) << 32
                | batch.column("position").to_numpy()
            )
            if not len(keys):
                break
            place = np.searchsorted(keys, own).clip(max=len(keys) - 1)
            wanted = keys[place] == own
            at = place[wanted]
            found[at] = _rows_of(batch.column("vector"), width)[wanted]
            near[at] = _rows_of(batch.column("near"), reach)[wanted]
            token[at] = batch.column("token").to_numpy()[wanted]
            for name, parts in texts.items():
                parts.append(batch.column(name).filter(pa.array(wanted)))
            origin[at] = np.arange(behind, behind + len(at))
            behind += len(at)
    taken = {name: pa.concat_arrays(parts).take(pa.array(origin)) for name, parts in texts.items()}
    return KeptVectors(vector=found, token=token, near=near, **taken)


def _rows_of(lists: pa.FixedSizeListArray, width: int) -> np.ndarray:
    rows: np.ndarray = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return rows


def _in_pieces_of(rows: int, pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The same rows in pieces that depend only on their number."""
    held: list[np.ndarray] = []
    for piece in pieces:
        held.append(piece)
        while sum(map(len, held)) >= rows:
            joined = np.concatenate(held)
            yield joined[:rows]
            held = [joined[rows:]]
    if any(len(piece) for piece in held):
        yield np.concatenate(held)


def write_vocabulary(result: Writes, vocabulary: Sequence[str], special: Collection[int]) -> None:
    """special: the ids that stand for no text; a tokenizer may have some beyond the vocabulary."""
    columns = {"text": list(vocabulary), "special": [i in special for i in range(len(vocabulary))]}
    with result.writing(TOKENS) as f:
        table = pa.table(columns, schema=VOCABULARY)
        pq.write_table(table, f, compression="zstd", write_page_checksum=True)


def write_neurons(result: Writes, layers: Sequence[pa.Table]) -> pa.Table:
    table = pa.concat_tables(layers).combine_chunks()
    write_scalars(result, NEURONS, table)
    return table


def write_controls(result: Writes, layers: Sequence[pa.Table]) -> pa.Table:
    """Without layers a table without rows."""
    table = pa.concat_tables([GHOST_SCALARS.empty_table(), *layers]).combine_chunks()
    write_scalars(result, GHOSTS, table)
    return table


def write_manifest(
    store: Store, folder: str, manifest: Mapping[str, Any], seals: Mapping[str, Seal]
) -> None:
    store.write(f"{folder}/{MANIFEST}", format_manifest(manifest, seals))


def read_json(store: Store, path: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(store.read(path))
    return content


def read_manifest(store: Store, folder: str) -> dict[str, Any]:
    """Of a finished result.

    Raises AnalysisError when there is none, or none that this version can read.
    """
    path = f"{folder}/{MANIFEST}"
    try:
        manifest = parse_manifest(store.read(path))
    except FileNotFoundError as e:
        raise AnalysisError(
            "the result of the job that this one is about is no longer there"
        ) from e
    except OtherFormat as e:
        raise AnalysisError(f"the result is {e}") from e
    except ValueError as e:
        raise DamagedFile(f"{path} is damaged: {e}", path=path) from e
    return manifest


def write_summary(result: SealedFolder, summary: Mapping[str, Any]) -> None:
    content = json.dumps(summary, indent=1, sort_keys=True, allow_nan=False)
    result.write(SUMMARY, content.encode())
