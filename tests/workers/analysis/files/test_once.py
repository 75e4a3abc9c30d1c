from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from polyseme.workers.analysis.files.once import make_once

_SLOW = """
import sys, time
from pathlib import Path
from polyseme.workers.analysis.files.once import make_once

def write(target):
    (target / "half").touch()
    print("writing", flush=True)
    time.sleep(60)

make_once(Path(sys.argv[1]), write)
"""


@contextmanager
def slow_writer(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has begun to write the folder; killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", _SLOW, str(folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "writing\n"
            yield process
        finally:
            process.kill()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(target: Path) -> None:
    (target / "file").write_text("content")


def test_a_folder_is_made_once(tmp_path: Path) -> None:
    make_once(tmp_path / "made" / "a", write)
    make_once(tmp_path / "made" / "a", lambda _: pytest.fail("it is there"))
    assert names(tmp_path / "made") == ["a"]
    assert names(tmp_path / "made" / "a") == ["file"]


def test_a_folder_that_could_not_be_written_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        make_once(tmp_path / "made" / "a", lambda target: (target / "none" / "file").touch())
    assert names(tmp_path / "made") == []


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    with slow_writer(tmp_path / "made" / "a"):
        pass
    assert len(names(tmp_path / "made")) == 1
    make_once(tmp_path / "made" / "b", write)
    assert names(tmp_path / "made") == ["b"]


def test_leftovers_are_removed_when_the_folder_is_there_already(tmp_path: Path) -> None:
    make_once(tmp_path / "made" / "b", write)
    with slow_writer(tmp_path / "made" / "a"):
        pass
    make_once(tmp_path / "made" / "b", write)
    assert names(tmp_path / "made") == ["b"]


def test_what_another_process_still_writes_stays(tmp_path: Path) -> None:
    with slow_writer(tmp_path / "made" / "a"):
        make_once(tmp_path / "made" / "a", write)
        assert len(names(tmp_path / "made")) == 2
        assert names(tmp_path / "made" / "a") == ["file"]
