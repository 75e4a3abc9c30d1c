"""A store that is not the one that is meant is not touched, and loses nothing by being away."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from polyseme.contract.board.board import Board
from polyseme.contract.board.keys import Keys
from polyseme.contract.board.registry import Registry
from polyseme.contract.errors import StoreTaken
from polyseme.contract.files.identity import IDENTITY_FILE, OtherStore, StoreAway
from polyseme.contract.files.store import Store
from polyseme.contract.own_store import open_store
from tests.store_faults import broken, unmounted

USES: dict[str, Callable[[Store], Any]] = {
    "write": lambda s: s.write("a/new", b"x"),
    "copy": lambda s: s.copy("a/b", "a/c"),
    "delete": lambda s: s.delete("a"),
    "delete_unfinished": lambda s: s.delete_unfinished("a"),
    "open": lambda s: s.open("a/b"),
    "read": lambda s: s.read("a/b"),
    "exists": lambda s: s.exists("a/b"),
    "size": lambda s: s.size("a/b"),
    "folder_size": lambda s: s.folder_size("a"),
    "names": lambda s: s.names("a"),
}


@pytest.fixture(params=["folder", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each kind must keep the same promises."""
    found: str = (
        str(tmp_path / "store") if request.param == "folder" else request.getfixturevalue("s3_url")
    )
    return found


def other_board(board: Board) -> Registry:
    return Registry(board._redis, Keys("other:"))


def test_the_first_who_opens_a_store_marks_it_and_all_others_of_the_board_know_it(
    url: str, board: Board
) -> None:
    first, second = (open_store(url, board.registry) for _ in range(2))
    first.write("a/b", b"x")

    assert second.read("a/b") == b"x"
    assert json.loads(second.read(IDENTITY_FILE))["store"] == board.registry.claim_store()


def test_a_second_board_is_refused_and_changes_nothing(url: str, board: Board) -> None:
    store = open_store(url, board.registry)
    store.write("a/b", b"x")

    with pytest.raises(StoreTaken, match=IDENTITY_FILE):
        open_store(url, other_board(board))

    assert (store.read("a/b"), store.names("")) == (b"x", ["a", IDENTITY_FILE])


def test_of_two_boards_that_begin_at_once_one_gets_the_store(tmp_path: Path, board: Board) -> None:
    def begin(number: int) -> bool:
        try:
            open_store(str(tmp_path / "store"), Registry(board._redis, Keys(f"{number}:"))).check()
        except StoreTaken:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(begin, range(8))) == 1


def test_without_its_file_a_store_is_handed_to_another_board(url: str, board: Board) -> None:
    open_store(url, board.registry)
    Store(url).delete(IDENTITY_FILE)

    handed = open_store(url, other_board(board))

    handed.check()
    with pytest.raises(StoreTaken):
        open_store(url, board.registry)


@pytest.mark.parametrize("use", list(USES))
def test_in_an_empty_folder_in_its_place_nothing_is_done_or_missed(
    tmp_path: Path, board: Board, use: str
) -> None:
    store = open_store(str(tmp_path / "store"), board.registry)
    store.write("a/b", b"x")

    with unmounted(tmp_path / "store"), pytest.raises(StoreAway, match="not mounted"):
        USES[use](store)

    assert store.read("a/b") == b"x"
    USES[use](store)


def test_an_emptied_bucket_is_no_new_store(
    s3_url: str, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyseme.contract.files.store._BELIEVED_S", 0.0)
    store = open_store(s3_url, board.registry)
    store.write("a/b", b"x")
    plain = Store(s3_url)
    plain.delete("a")
    plain.delete(IDENTITY_FILE)

    for use in USES.values():
        with pytest.raises(StoreAway):
            use(store)
    assert plain.names("") == []


def test_a_store_that_is_swapped_for_another_ones_is_left_alone(
    tmp_path: Path, board: Board
) -> None:
    folder = tmp_path / "store"
    mine = open_store(str(folder), board.registry)
    folder.rename(tmp_path / "mine")
    open_store(str(folder), other_board(board)).write("a", b"theirs")

    with pytest.raises(OtherStore):
        mine.delete("a")

    assert (folder / "a").read_bytes() == b"theirs"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"store": "x"}', b"\xff" * 40])
def test_a_damaged_file_is_no_identity(tmp_path: Path, board: Board, content: bytes) -> None:
    store = open_store(str(tmp_path), board.registry)
    (tmp_path / IDENTITY_FILE).write_bytes(content)

    with pytest.raises(OtherStore):
        store.write("a", b"x")


def test_a_store_that_is_away_at_the_start_is_found_later(tmp_path: Path, board: Board) -> None:
    folder = tmp_path / "store"
    open_store(str(folder), board.registry)

    for fault in (broken, unmounted):
        with fault(folder):
            store = open_store(str(folder), board.registry)
            with pytest.raises(OSError, match=r"not mounted|Not a directory"):
                store.write("a", b"x")
        store.write("a", b"x")


def test_a_first_start_that_was_cut_short_is_no_loss(tmp_path: Path, board: Board) -> None:
    board.registry.claim_store()  # and the process is killed

    open_store(str(tmp_path / "store"), board.registry).write("a", b"x")

    assert board.registry.is_store_made()


def test_a_store_of_before_is_marked_but_not_an_empty_folder_in_its_place(
    tmp_path: Path, board: Board
) -> None:
    folder = tmp_path / "store"
    Store(str(folder)).write("corpora/notes/documents.parquet", b"x")
    board.accounts.note_stored("default", "corpus:notes", 1)
    folder.rename(tmp_path / "aside")
    (folder / "lost+found").mkdir(parents=True)

    with pytest.raises(StoreAway):
        open_store(str(folder), board.registry).write("a", b"x")
    shutil.rmtree(folder)
    (tmp_path / "aside").rename(folder)
    open_store(str(folder), board.registry).write("a", b"x")

    assert (folder / IDENTITY_FILE).exists()
