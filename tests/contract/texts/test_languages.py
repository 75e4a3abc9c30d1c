"""Each kind of file may name the language of its documents."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyseme.contract.errors import InvalidCorpus
from polyseme.contract.texts.formats import LONGEST_DOCUMENT, Notes, Reading
from polyseme.contract.texts.languages import language_of
from polyseme.contract.texts.read import read_texts

FOUND = [("Haus", "de"), ("house", "British English"), ("maison", None), ("casa", None)]
OBJECTS: list[Any] = [
    {"text": "Haus", "lang": "de"},
    {"text": "house", "lang": " British\tEnglish "},
    {"text": "maison", "lang": None},
    {"text": "casa", "lang": " "},
]


def parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, row_group_size=3)
    return file.getvalue()


def read(body: bytes, notes: Notes | None = None, **how: Any) -> list[tuple[str, str | None]]:
    reading = Reading(**{"language_field": "lang"} | how)
    return [(str(t), language_of(t)) for t in read_texts([body], reading, notes or Notes())]


JSON_LINES = "\n".join(map(json.dumps, OBJECTS)).encode()
CSV = b'text,lang\nHaus,de\nhouse,"British\nEnglish"\nmaison,\ncasa," "\n'
COLUMNS = {name: [o[name] for o in OBJECTS] for name in ("text", "lang")}


@pytest.mark.parametrize(
    ("body", "how"),
    [
        (JSON_LINES, {}),
        (json.dumps(OBJECTS).encode(), {}),
        (CSV, {"field": "text", "filename": "a.csv"}),
        (CSV.replace(b",", b"\t"), {"field": "text", "filename": "a.tsv"}),
        (parquet(**COLUMNS), {}),
        (parquet(**COLUMNS | {"lang": pa.array(COLUMNS["lang"]).dictionary_encode()}), {}),
    ],
)
def test_every_kind_of_table_names_languages(body: bytes, how: dict[str, Any]) -> None:
    assert read(body, **how) == FOUND
    assert read(body, **how, language_field=None) == [(text, None) for text, _ in FOUND]


def test_json_without_the_field_and_strings_have_no_language() -> None:
    assert read(b'"a"\n{"text": "b"}\n{"text": "c", "lang": "fr"}\n') == [
        ("a", None),
        ("b", None),
        ("c", "fr"),
    ]


def test_a_field_that_no_document_has_is_warned_of() -> None:
    notes = Notes()

    read(b'{"text": "b", "language": "de"}\n', notes)

    assert notes.warnings == ["no document has a language in the field 'lang'"]


@pytest.mark.parametrize(
    ("body", "how", "pointer", "why"),
    [
        (b'"a"\n{"text": "b", "lang": 7}\n', {}, "/1", "line 2: the language field 'lang' is no"),
        (b'[{"text": "b", "lang": ["de"]}]', {}, "/0", "element 1: the language field 'lang'"),
        (
            json.dumps({"text": "a", "lang": "x" * 65}).encode() + b"\n",
            {"declared": "jsonl"},
            "/0",
            "line 1: the language field 'lang' has 65 characters",
        ),
        (
            b"text,lang\na," + b"x" * 65 + b"\n",
            {"field": "text", "filename": "a.csv"},
            "/0",
            "line 2: the language field 'lang' has 65 characters",
        ),
        (parquet(text=["a"], lang=["x" * 65]), {}, "/0", "row 1: the language field 'lang' has 65"),
        (parquet(text=["a"], lang=[7]), {}, "/language_field", "is int64, not a string"),
        (parquet(text=["a"]), {}, "/language_field", "no field 'lang'; its fields are text"),
        (
            b"text,langue\na,fr\n",
            {"field": "text", "filename": "a.csv"},
            "/language_field",
            "no field 'lang'; its fields are text, langue",
        ),
        (b"a plain line\n", {"declared": "text"}, "/language_field", "plain text has no fields"),
        (b'{"text": "a"}\n', {"language_field": "text"}, "/language_field", "has the text"),
    ],
)
def test_what_names_no_language_is_refused(
    body: bytes, how: dict[str, Any], pointer: str, why: str
) -> None:
    with pytest.raises(InvalidCorpus, match=why) as refused:
        read(body, **how)
    assert [d.pointer for d in refused.value.details] == [pointer]


def test_a_bad_language_is_a_bad_line_that_may_be_skipped() -> None:
    notes = Notes()

    found = read(
        b'{"text": "a", "lang": 7}\n{"text": "b", "lang": "de"}\n', notes, skips_bad_lines=True
    )

    assert (found, notes.bad_lines_skipped) == ([("b", "de")], 1)


def test_a_column_of_languages_may_be_no_larger_than_the_texts() -> None:
    long = parquet(text=["a", "b"], lang=["x" * (LONGEST_DOCUMENT + 1), "de"])

    with pytest.raises(InvalidCorpus, match="at most 64"):
        read(long)
