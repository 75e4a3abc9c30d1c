from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from polyseme.contract.files.results import GHOSTS, NEURONS, report_file
from polyseme.contract.files.store import Layout, Store
from polyseme.service.results.exports import (
    gzipped,
    stream_control_lines,
    stream_lines,
    stream_zip,
)
from polyseme.service.results.result import Results
from tests.factories import write_result

JOB, OTHER = "job_" + "2" * 28, "job_" + "3" * 28


@pytest.fixture
def results(store: Store, tmp_path: Path) -> Results:
    write_result(store, JOB, senses=True)
    return Results(store, str(tmp_path))


def test_the_zip_holds_the_stored_files_byte_for_byte(results: Results, store: Store) -> None:
    body = b"".join(stream_zip(results, JOB, [1, 2], 1_760_000_000.0))

    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        names = [n.removeprefix(f"{JOB}/") for n in archive.namelist()]
        assert names == [
            "manifest.json",
            "summary.json",
            NEURONS,
            GHOSTS,
            "tokens.parquet",
            report_file(1),
            report_file(2),
        ]
        assert all(
            archive.read(f"{JOB}/{n}") == store.read(f"{Layout.result(JOB)}/{n}") for n in names
        )


def test_the_same_result_gives_the_same_zip(results: Results) -> None:
    first, second = (b"".join(stream_zip(results, JOB, [0], 1_760_000_000.0)) for _ in range(2))

    assert first == second


def test_a_result_without_control_units_is_exported_without_their_file(
    results: Results, store: Store
) -> None:
    write_result(store, OTHER)

    with zipfile.ZipFile(io.BytesIO(b"".join(stream_zip(results, OTHER, [0], 0x5E0BE100)))) as file:
        assert f"{OTHER}/{GHOSTS}" not in file.namelist()
    assert list(stream_control_lines(results, OTHER, [0])) == []


def test_control_units_are_lines_by_layer(results: Results) -> None:
    lines = [json.loads(line) for line in stream_control_lines(results, JOB, [1, 3])]

    assert [(c["layer"], c["ghost"]) for c in lines] == [(n, g) for n in (1, 3) for g in range(8)]
    assert lines[0]["object"] == "control"


def test_lines_are_the_reports_in_order(results: Results) -> None:
    lines = [json.loads(line) for line in stream_lines(results, JOB, "m", [0, 3])]

    assert [(r["layer"], r["neuron"]) for r in lines] == [
        (layer, n) for layer in (0, 3) for n in range(48)
    ]
    assert lines[5]["stats"]["max"] == results.report(JOB, 0, 5)["max"]


def test_gzip_goes_out_as_a_stream(results: Results) -> None:
    plain = list(stream_lines(results, JOB, "m", [0]))

    assert gzip.decompress(b"".join(gzipped(iter(plain)))) == b"".join(plain)


def test_the_exported_scalars_open_as_parquet(results: Results) -> None:
    body = b"".join(stream_zip(results, JOB, [0], 1_760_000_000.0))

    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert pq.read_table(io.BytesIO(archive.read(f"{JOB}/{NEURONS}"))).num_rows == 192
