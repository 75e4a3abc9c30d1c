"""The catalogue's file and its mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyseme.contract.records.catalogue import load_catalogue


def write(folder: Path, text: str) -> Path:
    path = folder / "models.toml"
    path.write_text(text)
    return path


def test_entries_are_read_and_paths_start_at_the_file(tmp_path: Path) -> None:
    text = (
        '[[models]]\nid = "a"\npath = "m/a"\n[[models]]\nid = "b"\nhub = "o/b"\nrevision = '
        '"1f"\nqueue = "big"\n'
    )

    entries = load_catalogue(write(tmp_path, text))

    assert entries["a"].source == f"path:{(tmp_path / 'm/a').resolve()}"
    assert entries["b"].source == "hub:o/b@1f"
    assert (entries["a"].queue, entries["b"].queue) == ("default", "big")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('id = "A"\npath = "x"', "must match"),
        ('id = "a"', "exactly one of"),
        ('id = "a"\npath = "x"\ngguf = "y"', "exactly one of"),
        ('id = "a"\nhub = "o/a"', "needs a revision"),
        ('id = "a"\npath = "x"\nrevision = "1"', "only a hub model"),
        ('id = "a"\npath = "x"\nfoo = 1', "unknown"),
        ('id = "a"\npath = "x"\nqueue = "Big"', "queue 'Big' must match"),
        ('id = "a"\npath = "x"\n[[models]]\nid = "a"\npath = "y"', "two models"),
        ("id =", "models.toml"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, entry: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_catalogue(write(tmp_path, f"[[models]]\n{entry}\n"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no catalogue at"):
        load_catalogue(tmp_path / "none.toml")
