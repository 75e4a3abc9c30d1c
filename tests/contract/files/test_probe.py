from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from polyseme.contract.files.probe import FOLDER, StoreProbe
from polyseme.contract.files.store import Store
from tests.store_faults import broken, may_mount, on_tmpfs, read_only


class Hanging(Store):
    """One whose writes wait for a test."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.go_on = threading.Event()
        self.writes = 0

    def write(self, path: str, content: bytes) -> None:
        self.writes += 1
        self.go_on.wait(20)
        super().write(path, content)


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_store_that_works_is_left_as_it_was(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = str(tmp_path) if kind == "folder" else request.getfixturevalue("s3_url")
    store = Store(url)

    assert StoreProbe(store, wait_s=20).ask() is None
    assert store.names(FOLDER) == []


def test_an_error_is_told_without_a_path(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    store.write("a", b"")

    with broken(tmp_path / "store"):
        why = StoreProbe(store, wait_s=5).ask()

    assert why == "Not a directory"
    assert StoreProbe(store, wait_s=5).ask() is None


@pytest.mark.skipif(not may_mount(), reason="needs root")
def test_full_and_read_only_file_systems_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    store = Store(str(folder))
    with on_tmpfs(folder, "1m"):
        (folder / "ballast").write_bytes(b"x" * ((1 << 20) - 8192))
        assert StoreProbe(store, wait_s=5).ask() == "No space left on device"
        (folder / "ballast").unlink()
        with read_only(folder):
            assert StoreProbe(store, wait_s=5).ask() == "Read-only file system"
        assert StoreProbe(store, wait_s=5).ask() is None


def test_many_who_ask_of_a_store_that_hangs_wait_once_for_one_thread(tmp_path: Path) -> None:
    store = Hanging(str(tmp_path))
    probe = StoreProbe(store, wait_s=0.3)
    began = time.monotonic()

    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda _: probe.ask(), range(60)))
    at_once = probe.ask()

    assert all(why and "not answered" in why for why in [*found, at_once])
    assert time.monotonic() - began < 2
    assert store.writes == 1
    store.go_on.set()
    for _ in range(200):
        if probe.ask() is None:
            return
        time.sleep(0.02)
    raise AssertionError(probe.ask())


def test_an_answer_is_given_again_for_a_while(tmp_path: Path) -> None:
    store = Hanging(str(tmp_path))
    store.go_on.set()
    kept, fresh = StoreProbe(store, wait_s=5, keep_s=60), StoreProbe(store, wait_s=5)

    assert [kept.ask() for _ in range(5)] == [None] * 5
    assert store.writes == 1
    assert [fresh.ask() for _ in range(5)] == [None] * 5
    assert store.writes == 6
