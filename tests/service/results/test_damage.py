"""A result that is not what was written is called so: whichever file it is, however it is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from polyseme.contract.errors import ResultDamaged, Unavailable
from polyseme.contract.files.results import GHOSTS, MANIFEST, NEURONS, SUMMARY, TOKENS, report_file
from polyseme.contract.files.store import Layout, Store
from polyseme.service.results.exports import stream_lines, stream_zip
from polyseme.service.results.result import Results
from tests.factories import write_result

JOB = "job_" + "4" * 28
NAMES = (MANIFEST, SUMMARY, NEURONS, TOKENS, GHOSTS, report_file(1))


@pytest.fixture
def cache(tmp_path: Path) -> str:
    return str(tmp_path / "cache")


@pytest.fixture
def whole(store: Store) -> Store:
    write_result(store, JOB, layers=(0, 1), neurons=tuple(range(200)), senses=True)
    return store


def read_all(results: Results) -> None:
    for name in (MANIFEST, SUMMARY):
        results.read(JOB, name)
    _ = results.scalars(JOB).peaks
    results.vocabulary(JOB)
    results.controls(JOB)
    for layer in (0, 1):
        list(results.rows(JOB, layer))


def truncate(path: Path) -> None:
    """As a file system does that lost the end: the file stays the same one."""
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    with path.open("r+b") as f:
        f.seek(path.stat().st_size // 2)
        byte = f.read(1)
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte[0] ^ 1]))


DAMAGES: list[Callable[[Path], None]] = [Path.unlink, truncate, flip]


def path_of(store: Store, name: str) -> Path:
    return Path(store.local_path(f"{Layout.result(JOB)}/{name}"))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", NAMES)
def test_damage_is_found_by_who_reads_it(
    whole: Store, cache: str, name: str, damage: Callable[[Path], None]
) -> None:
    read_all(Results(whole, cache))
    damage(path_of(whole, name))

    with pytest.raises(ResultDamaged, match=f"{name} of {JOB} is damaged"):
        read_all(Results(whole, cache))


@pytest.mark.parametrize("damage", [Path.unlink, truncate])
@pytest.mark.parametrize("name", NAMES)
def test_a_part_that_is_missing_is_found_by_the_first_read_of_any_other(
    whole: Store, cache: str, name: str, damage: Callable[[Path], None]
) -> None:
    damage(path_of(whole, name))

    with pytest.raises(ResultDamaged, match=name):
        Results(whole, cache).report(JOB, 0, 3)


@pytest.mark.parametrize("damage", [truncate, flip])
def test_a_file_that_is_open_may_be_damaged(
    whole: Store, cache: str, damage: Callable[[Path], None]
) -> None:
    """A memory map of it would end the process."""
    results = Results(whole, cache)
    results.report(JOB, 1, 0)
    damage(path_of(whole, report_file(1)))

    with pytest.raises(ResultDamaged, match=report_file(1)):
        _ = [results.report(JOB, 1, neuron) for neuron in range(200)]


def test_a_file_that_was_made_again_is_read_again(whole: Store, cache: str) -> None:
    results = Results(whole, cache)
    content = whole.read(f"{Layout.result(JOB)}/{report_file(1)}")
    results.report(JOB, 1, 0)
    truncate(path_of(whole, report_file(1)))
    with pytest.raises(ResultDamaged):
        results.report(JOB, 1, 199)

    whole.write(f"{Layout.result(JOB)}/{report_file(1)}", content)

    assert results.report(JOB, 1, 199)["neuron"] == 199


@pytest.mark.parametrize("name", NAMES)
def test_an_export_of_a_damaged_file_does_not_come_to_its_end(
    whole: Store, cache: str, name: str
) -> None:
    results = Results(whole, cache)
    results.scalars(JOB)
    flip(path_of(whole, name))

    with pytest.raises(ResultDamaged, match=name):
        for _ in stream_zip(results, JOB, [0, 1], 1_760_000_000.0):
            pass


def test_an_export_by_lines_of_a_damaged_file_does_not_come_to_its_end(
    whole: Store, cache: str
) -> None:
    results = Results(whole, cache)
    results.scalars(JOB)
    flip(path_of(whole, report_file(1)))

    with pytest.raises(ResultDamaged):
        list(stream_lines(results, JOB, "m", [0, 1]))


def test_a_mistake_that_is_no_damage_stays_one(whole: Store, cache: str) -> None:
    results = Results(whole, cache)

    with pytest.raises(KeyError, match="nothing"), results.reading(JOB, NEURONS):
        raise KeyError("nothing")


@pytest.fixture
def remote() -> Iterator[Store]:
    away = Store("memory://damage")
    write_result(away, JOB, layers=(0, 1), neurons=tuple(range(200)))
    yield away
    fsspec.filesystem("memory").rm("/", recursive=True)


def test_a_damaged_copy_is_fetched_anew(remote: Store, cache: str) -> None:
    results = Results(remote, cache)
    results.report(JOB, 1, 0)
    (copy,) = Path(cache).rglob("layer-001.parquet")
    truncate(copy)

    with pytest.raises(Unavailable):
        results.report(JOB, 1, 199)

    assert results.report(JOB, 1, 199)["neuron"] == 199


def test_what_is_fetched_is_what_was_written(remote: Store, cache: str) -> None:
    path = f"{Layout.result(JOB)}/{report_file(1)}"
    content = bytearray(remote.read(path))
    content[len(content) // 2] ^= 1
    remote.write(path, bytes(content))

    with pytest.raises(ResultDamaged, match=r"layer-001\.parquet"):
        Results(remote, cache).report(JOB, 1, 0)
