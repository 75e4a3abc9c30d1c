from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from polyseme.contract.texts.formats import Reading
from polyseme.problems import Unreadable
from polyseme.uploads import Folder, plan_folder, read_folder, text_lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of every kind, one document each but for the first."""
    (tmp_path / "deep").mkdir()
    files = {
        "a.txt": b"one\ntwo\n",
        "b.jsonl.gz": gzip.compress(b'{"text": "three"}\n'),
        "c.txt.gz": gzip.compress(b"four"),
        "d.json": b'["five"]',
        "deep/e.md": "\ufeffsix".encode("utf-16-le"),
        "deep/f.csv": b"n,text\n7,seven\n",
        "g.png": b"\x89PNG",
        "LICENSE": b"Do.",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def read(folder: Path, **query: str) -> list[str]:
    reading = plan_folder(query)
    lines = b"".join(read_folder(Folder.of(folder, reading.field), reading)).splitlines()
    return [found["text"] if (found := json.loads(line)) else found for line in lines]


def test_each_text_file_of_a_folder_is_a_document_and_each_line_of_the_others(folder: Path) -> None:
    texts = ["one\ntwo", "three", "four", "five", "six"]

    assert read(folder) == texts
    assert read(folder, field="text") == [*texts, "seven"]
    assert read(folder, sample_by="line")[:2] == ["one", "two"]


def test_a_folder_knows_what_it_leaves_out(folder: Path) -> None:
    assert [f.name for f in Folder.of(folder, None).left_out] == ["LICENSE", "f.csv", "g.png"]
    assert [f.name for f in Folder.of(folder, "text").left_out] == ["LICENSE", "g.png"]


def test_a_bad_file_is_named(folder: Path) -> None:
    (folder / "b.jsonl").write_text('{"text": "a"}\n{"text": null, "id": 1}\n')

    with pytest.raises(Unreadable, match=r"b\.jsonl: line 2: the field 'text' is null"):
        read(folder)


def test_a_bad_line_that_is_to_be_skipped_goes_to_the_service_to_be_counted(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": null}\n7\n"b"\n')

    assert read(tmp_path, on_bad_line="skip") == ["a", "b", None, None]


def test_the_language_of_each_document_goes_with_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("plain")
    (tmp_path / "b.jsonl").write_text('{"text": "Haus", "lang": "de"}\n"maison"\n')
    reading = plan_folder({"language_field": "lang"})

    lines = list(read_folder(Folder.of(tmp_path, None), reading))

    assert list(map(json.loads, lines)) == [
        {"text": "plain"},
        {"text": "Haus", "language": "de"},
        {"text": "maison"},
    ]
    assert list(text_lines(["Haus", "maison"], ["de", None])) == lines[1:]


def test_there_are_as_many_languages_as_texts() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        list(text_lines(["Haus", "maison"], ["de"]))


def test_an_empty_reading_takes_whole_text_files() -> None:
    assert plan_folder({}) == Reading(sample_by="document")
