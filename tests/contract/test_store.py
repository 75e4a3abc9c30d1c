"""Files are whole or not there."""

from __future__ import annotations

import pytest

from contract.store import Store


def test_a_file_whose_writing_fails_leaves_nothing(store: Store) -> None:
    store.write("a/b", b"old")

    with pytest.raises(TypeError), store.writing("a/b") as f:
        f.writelines([b"new", None])  # type: ignore[list-item]

    assert store.read("a/b") == b"old"
    assert store.names("a") == ["b"]


def test_a_file_being_written_is_not_listed(store: Store) -> None:
    with store.writing("a/b") as f:
        f.write(b"x")
        assert store.names("a") == []
        assert not store.exists("a/b")

    assert (store.names("a"), store.size("a/b")) == (["b"], 1)


def test_deleting_takes_folders_and_forgives_what_is_not_there(store: Store) -> None:
    store.write("a/b/c", b"x")

    store.delete("a")
    store.delete("a")

    assert store.names("a") == []
    with pytest.raises(FileNotFoundError):
        store.open("a/b/c")


def test_only_a_local_store_has_paths() -> None:
    memory = Store("memory://polyseme-test")
    memory.write("a", b"x")

    assert memory.read("a") == b"x"
    with pytest.raises(ValueError, match="not a local folder"):
        memory.local_path("a")
