"""Files are whole or not there."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from polyseme.contract.files.store import Store


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Each kind must keep the same promises."""
    return Store(
        str(tmp_path / "store") if request.param == "folder" else request.getfixturevalue("s3_url")
    )


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


def test_a_file_may_be_written_in_any_order(store: Store) -> None:
    with store.writing("a/b") as f:
        f.write(b"....end")
        f.seek(0)
        f.write(b"head")

    assert store.read("a/b") == b"headend"


def test_threads_write_at_once_and_one_that_fails_harms_no_other(store: Store) -> None:
    def write(number: int) -> None:
        with store.writing(f"a/{number}") as f:
            f.write(bytes(1000))
            if number % 2:
                raise ValueError

    with ThreadPoolExecutor(8) as pool:
        failed = [pool.submit(write, number).exception() is not None for number in range(16)]

    assert failed == [bool(number % 2) for number in range(16)]
    assert store.names("a") == sorted(str(number) for number in range(0, 16, 2))
    assert {store.size(f"a/{name}") for name in store.names("a")} == {1000}


def test_a_large_file_appears_whole_or_not_at_all_in_object_storage(s3_url: str) -> None:
    store = Store(s3_url)  # which sends it in parts
    content = os.urandom(55 << 20)

    with pytest.raises(TypeError), store.writing("a/lost") as f:
        f.writelines([content, None])  # type: ignore[list-item]
    with store.writing("a/kept") as f:
        f.write(content)
        assert store.names("a") == []

    assert store.names("a") == ["kept"]
    assert store.read("a/kept") == content


def test_a_folder_of_many_files_is_deleted_by_several_at_once(store: Store) -> None:
    for n in range(400):
        store.write(f"a/{n % 7}/{n}", b"x")

    with ThreadPoolExecutor(8) as pool:
        ended = list(pool.map(store.delete, ["a"] * 8))

    assert ended == [None] * 8
    assert store.names("a") == []


def test_what_another_removes_between_the_look_and_the_removal_is_deleted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("a/b/file", b"x")
    remove = store._fs.rm

    def remove_second(path: str, **options: Any) -> None:
        remove(path, **options)
        raise FileNotFoundError([path])  # as s3fs says it

    monkeypatch.setattr(store._fs, "rm", remove_second)

    store.delete("a")

    assert store.names("a") == []


def test_a_copy_stays_when_its_source_is_replaced_or_deleted(store: Store) -> None:
    store.write("a/source", b"content")
    store.write("b/c/copy", b"older")

    for _ in range(2):  # onto another name of the same file, too
        store.copy("a/source", "b/c/copy")

    store.write("a/source", b"other")
    assert (store.read("b/c/copy"), store.names("b/c")) == (b"content", ["copy"])
    store.delete("a/source")
    assert store.read("b/c/copy") == b"content"
    with pytest.raises(FileNotFoundError):
        store.copy("a/source", "b/none")
    assert not store.exists("b/none")


def test_a_file_is_copied_where_it_cannot_have_two_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, target: str) -> None:
        raise PermissionError(1, "no hard links here")

    store = Store(str(tmp_path))
    store.write("a", b"content")
    monkeypatch.setattr(os, "link", refuse)

    store.copy("a", "b")

    assert (store.read("b"), os.stat(tmp_path / "a").st_nlink) == (b"content", 1)


_OTHER = """
import sys
from polyseme.contract.files.store import Store
store = Store(sys.argv[1])
store.write("a/new", b"longer than before")
store.delete("a/old")
"""


def test_what_other_processes_do_is_seen_at_once_in_object_storage(s3_url: str) -> None:
    store = Store(s3_url)
    store.write("a/old", b"x")
    store.write("a/new", b"short")
    assert (store.names("a"), store.exists("a/old"), store.size("a/new")) == (
        ["new", "old"],
        True,
        5,
    )

    subprocess.run([sys.executable, "-c", _OTHER, s3_url], check=True)

    assert (store.names("a"), store.exists("a/old"), store.size("a/new")) == (["new"], False, 18)
    assert store.read("a/new") == b"longer than before"


def test_a_store_that_does_not_answer_is_an_oserror(
    s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()  # which know the endpoint of before
    try:
        with pytest.raises(OSError, match="s3://"):
            Store(s3_url).write("a", b"x")
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
