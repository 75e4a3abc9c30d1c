"""Sizes and checksums of a result's files, noted as they are written."""

from __future__ import annotations

import hashlib
import os
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyseme.contract.errors import DamagedFile
from polyseme.contract.files.seals import (
    Seal,
    SealedFolder,
    check_sizes,
    find_damage,
    format_manifest,
    parse_manifest,
    seals_of,
)
from polyseme.contract.files.store import Store

FOLDER = "results/job"


@pytest.fixture(params=["here", "away"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = str(tmp_path) if request.param == "here" else f"memory://seals-{threading.get_ident()}"
    yield Store(url)
    fsspec.filesystem("memory").rm("/", recursive=True)


def write_three(store: Store) -> dict[str, Seal]:
    """A file of each kind: a table, an archive, whose writer goes back, and plain bytes."""
    folder = SealedFolder(store, FOLDER)
    with folder.writing("reports/a.parquet") as f:
        pq.write_table(pa.table({"n": list(range(5000))}), f, row_group_size=64)
    with folder.writing("b.npz") as f, zipfile.ZipFile(f, "w") as archive:
        for name in ("one", "two"):
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(os.urandom(3000))
    folder.write("c.json", b"{}")
    return folder.seals


def test_a_seal_is_that_of_the_file_however_it_was_written(either: Store) -> None:
    for name, seal in write_three(either).items():
        content = either.read(f"{FOLDER}/{name}")
        assert seal == Seal(len(content), hashlib.sha256(content).hexdigest())


def test_a_file_whose_writer_fails_has_no_seal(store: Store) -> None:
    folder = SealedFolder(store, FOLDER)

    with pytest.raises(ZeroDivisionError), folder.writing("a") as f:
        f.write(b"1" * (1 // 0))

    assert (folder.seals, store.names(FOLDER)) == ({}, [])


def test_every_damage_is_found(either: Store) -> None:
    seals = write_three(either)
    assert find_damage(either, FOLDER, seals) == {}
    content = bytearray(either.read(f"{FOLDER}/b.npz"))
    content[1000] ^= 1

    either.delete(f"{FOLDER}/c.json")
    either.write(f"{FOLDER}/b.npz", bytes(content))
    either.write(f"{FOLDER}/reports/a.parquet", b"short")

    found = find_damage(either, FOLDER, seals)
    assert list(found) == ["b.npz", "c.json", "reports/a.parquet"]
    assert "SHA-256" in found["b.npz"]
    assert found["c.json"] == "it is not there"
    assert "it has 5 bytes, not" in found["reports/a.parquet"]
    with pytest.raises(DamagedFile) as caught:
        check_sizes(either, FOLDER, seals)
    assert caught.value.path in (f"{FOLDER}/c.json", f"{FOLDER}/reports/a.parquet")


def test_a_damaged_file_is_not_taken_over(store: Store) -> None:
    seals = write_three(store)
    store.write(f"{FOLDER}/c.json", b"[]")
    folder = SealedFolder(store, "results/other")

    folder.take(FOLDER, "b.npz", seals["b.npz"])
    with pytest.raises(DamagedFile):
        folder.take(FOLDER, "c.json", seals["c.json"])

    assert folder.seals == {"b.npz": seals["b.npz"]}
    assert store.names("results/other") == ["b.npz"]


def test_a_manifest_says_what_was_put_into_it() -> None:
    seals = {"a": Seal(3, "0" * 64)}
    content = {"format": 7, "x": [1.5, None, "ü"]}

    found = parse_manifest(format_manifest(content, seals))

    assert seals_of(found) == seals
    assert {name: found[name] for name in content} == content


def can_be_read(manifest: bytes) -> bool:
    try:
        parse_manifest(manifest)
    except ValueError:
        return False
    return True


def test_no_byte_of_a_manifest_can_change_unnoticed() -> None:
    raw = format_manifest({"format": 7, "texts": ["a b", "c"]}, {"a": Seal(3, "0" * 64)})

    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        assert not can_be_read(changed)
        assert not can_be_read(raw[:place])
