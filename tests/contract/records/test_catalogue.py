"""The catalogue's file and its mistakes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polyseme.contract.records.catalogue import (
    DictionaryEntry,
    load_catalogue,
    load_dictionaries,
)


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


MODEL = '[[models]]\nid = "m"\npath = "m"\n'


def test_dictionaries_are_read_and_paths_start_at_the_file(tmp_path: Path) -> None:
    text = (
        f'{MODEL}[[dictionaries]]\nid = "a"\nmodel = "m"\npath = "d/layer_1"\n'
        '[[dictionaries]]\nid = "b"\nmodel = "m"\nrepo = "google/gemma-scope-2b-pt-res"\n'
        'folder = "layer_9/width_16k"\nrevision = "1f"\nformat = "gemma-scope-1"\n'
    )

    found = load_dictionaries(write(tmp_path, text))

    assert found["a"].source == f"path:{(tmp_path / 'd/layer_1').resolve()}"
    assert found["b"].source == "hub:google/gemma-scope-2b-pt-res/layer_9/width_16k@1f"
    assert (found["a"].format, found["b"].format) == ("auto", "gemma-scope-1")
    assert found["b"].model == "m"


def test_a_catalogue_without_dictionaries_has_none(tmp_path: Path) -> None:
    assert load_dictionaries(write(tmp_path, MODEL)) == {}


HUB = 'id = "a"\nmodel = "m"\nrepo = "o/a"\nrevision = "1"\n'


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('id = "A"\nmodel = "m"\npath = "x"', r"dictionaries\[0\]: id 'A' must match"),
        ('model = "m"\npath = "x"', "id '' must match"),
        ('id = "a"\npath = "x"', "model '' must match"),
        ('id = "a"\nmodel = "n"\npath = "x"', "model 'n' is not in the catalogue, which has m"),
        ('id = "a"\nmodel = "m"', "give exactly one of path and repo"),
        ('id = "a"\nmodel = "m"\npath = "x"\nrepo = "o/a"', "exactly one of path and repo"),
        ('id = "a"\nmodel = "m"\npath = "x"\nrevision = "1"', "only a repo has a revision"),
        ('id = "a"\nmodel = "m"\npath = "x"\nfolder = "y"', "only a repo has a folder"),
        ('id = "a"\nmodel = "m"\nrepo = "o/a"', "a repo needs a revision"),
        ('id = "a"\nmodel = "m"\nrepo = "a"\nrevision = "1"', "must be a Hugging Face id"),
        (f'{HUB}folder = "../b"', r"folder '\.\./b' must be a path inside the repo"),
        (f'{HUB}folder = "/b"', "folder '/b' must be a path inside the repo"),
        (f'{HUB}format = "pickle"', "format 'pickle'; known are auto, saelens"),
        (f"{HUB}format = 3", "format is 3; expected a text"),
        (f'{HUB}foo = "x"', r"unknown \['foo'\]; known are id, model, path, repo"),
        (f"{HUB}[[dictionaries]]\n{HUB}", "two dictionaries have the id 'a'"),
    ],
)
def test_a_wrong_dictionary_is_named(tmp_path: Path, entry: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_dictionaries(write(tmp_path, f"{MODEL}[[dictionaries]]\n{entry}\n"))


def test_models_are_read_whatever_the_dictionaries_are(tmp_path: Path) -> None:
    path = write(tmp_path, f"{MODEL}[[dictionaries]]\nid = 3\n")

    assert list(load_catalogue(path)) == ["m"]


def test_one_table_where_several_may_be_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dictionaries must be tables: \[\[dictionaries\]\]"):
        load_dictionaries(write(tmp_path, f'{MODEL}[dictionaries]\nid = "a"\n'))


def test_whatever_changes_in_a_dictionarys_entry_changes_its_fingerprint() -> None:
    entry = DictionaryEntry("a", "m", "hub", "org/name", "layer_1", "1f")
    changes: list[dict[str, Any]] = [
        {"location": "org/other"},
        {"folder": "layer_2"},
        {"revision": "2f"},
        {"format": "saelens"},
        {"model": "n"},
    ]

    found = {replace(entry, **change).fingerprint for change in changes}

    assert len(found | {entry.fingerprint}) == len(changes) + 1
    assert replace(entry).fingerprint == entry.fingerprint
