"""A file's bytes as documents: what is inside decides, and whatever is no text is refused."""

from __future__ import annotations

import gzip
import io
import json
import random
import subprocess
import tracemalloc
import zipfile
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyseme.contract.errors import (
    InvalidCorpus,
    MalformedRequest,
    PolysemeError,
    TooLarge,
    UnsupportedMedia,
)
from polyseme.contract.texts.formats import LONGEST_DOCUMENT, Notes, Reading
from polyseme.contract.texts.read import read_texts

TEXTS = [
    "The mill stood by the river.",
    "Zwölf Boxkämpfer jagen Viktor.",
    "夜の川は静かだ。\nまだ。",
]
OBJECTS = [{"id": i, "text": t} for i, t in enumerate(TEXTS)]
LINES = "".join(json.dumps(o, ensure_ascii=False) + "\n" for o in OBJECTS).encode()


def cut(body: bytes, size: int) -> Iterator[bytes]:
    return (body[i : i + size] for i in range(0, len(body), size))


def read(body: bytes, notes: Notes | None = None, *, size: int = 1 << 16, **how: Any) -> list[str]:
    return list(read_texts(cut(body, size), Reading(**how), notes or Notes()))


def zstd(body: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd").compress(body, asbytes=True)
    return packed


def parquet(table: dict[str, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(table), file, **options)
    return file.getvalue()


def _gzip(body: bytes) -> bytes:
    """Without the time, which would be in the names of tests."""
    return gzip.compress(body, mtime=0)


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as found:
        found.writestr(zipfile.ZipInfo("word/document.xml"), "<w:t>A letter.</w:t>")
    return file.getvalue()


# Plain text


def test_text_is_split_by_line() -> None:
    assert read("one\r\ntwö\n\nthree".encode()) == ["one", "twö", "", "three"]


def test_text_is_split_by_paragraph_or_not_at_all() -> None:
    body = b"a\nb\n\n \nc\n"

    assert [p for p in read(body, sample_by="paragraph") if p] == ["a\nb", "c"]
    assert read(body, sample_by="document") == ["a\nb\n\n \nc"]


def test_lines_longer_than_a_chunk_stay_whole() -> None:
    lines = ["x" * 200_000, "y" * 70_000]

    assert read("\n".join(lines).encode()) == lines


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_utf_16_with_its_mark_and_utf_8_with_one_are_read_as_utf_8(size: int) -> None:
    for codec, mark in (("utf-8", "\ufeff"), ("utf-16-le", "\ufeff"), ("utf-16-be", "\ufeff")):
        text = "\n".join(t.replace("\n", " ") for t in TEXTS) + "\n🦉"
        lines = LINES.decode()

        assert read((mark + text).encode(codec), size=size) == text.split("\n")
        assert read((mark + lines).encode(codec), size=size) == TEXTS
        assert read((mark + '"a"').encode(codec), size=size, declared="jsonl") == ["a"]


# What is inside decides


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("c4.00000.json", LINES),
        ("c4.00000.json.gz", _gzip(LINES)),
        ("a.txt", LINES),
        ("a.csv", LINES),
        ("a.dat", LINES),
        ("", LINES),
        ("a.jsonl", b"\n \n" + LINES),
        ("a.json", json.dumps(OBJECTS, indent=2).encode()),
        ("a.jsonl", json.dumps(TEXTS).encode()),
        ("a.json.zst", zstd(json.dumps(TEXTS, indent=1).encode())),
        ("packed.jsonl", _gzip(LINES)),
        ("a.jsonl.gz", LINES),
        ("a.jsonl.zst", zstd(LINES)),
        ("a.jsonl", "".join(json.dumps(t) + "\n" for t in TEXTS).encode()),
        ("", "".join(json.dumps(t) + "\n" for t in TEXTS).encode()),
        ("a.parquet", parquet({"text": TEXTS})),
        ("a.txt", parquet({"text": TEXTS, "n": [1, 2, 3]}, compression="zstd")),
        ("a.parquet", parquet({"text": pa.array(TEXTS, pa.large_string())})),
        ("a.parquet", parquet({"text": pa.array(TEXTS).dictionary_encode()})),
    ],
)
@pytest.mark.parametrize("size", [5, 1 << 16])
def test_what_is_inside_decides_over_the_name(name: str, body: bytes, size: int) -> None:
    assert read(body, filename=name, size=size) == TEXTS


@pytest.mark.parametrize("name", ["a.txt", "a.md", "README", "a.text.gz", ""])
def test_plain_text_is_what_is_named_so_or_has_no_ending(name: str) -> None:
    assert read(b"[1] says so.\n{x} too.\n", filename=name) == ["[1] says so.", "{x} too."]


def test_quoted_lines_of_a_text_file_stay_as_they_are() -> None:
    assert read(b'"To be."\n"Not to be."\n', filename="quotes.txt") == ['"To be."', '"Not to be."']


@pytest.mark.parametrize("name", ["page.html", "settings.yaml", "program.py", "letter.docx"])
def test_text_of_an_unknown_ending_is_taken_only_when_it_is_said_to_be_text(name: str) -> None:
    body = b"one\ntwo\n"

    with pytest.raises(UnsupportedMedia, match=name.replace(".", r"\.")):
        read(body, filename=name)
    assert read(body, filename=name, declared="text") == ["one", "two"]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (archive(), r"zip archive, as \.docx"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "PDF"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "old Office"),
        (b"{\\rtf1\\ansi A letter.}", "RTF"),
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (b"BZh91AY&SY\x94$|", "bzip2"),
        (b"\xfd7zXZ\x00\x00", "xz"),
        (b"a.txt" + bytes(252) + b"ustar  \0" + bytes(300), "tar archive"),
        ("\ufeffA text.".encode("utf-32-le"), "UTF-32"),
        ("A text.".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        (b"some\x00bytes", "NUL"),
        (b"<!DOCTYPE html>\n<title>A page</title>", "HTML"),
        (b"<!-- saved --><html><p>A page", "HTML"),
        (b'<?xml version="1.0"?><a/>', "XML"),
        (_gzip(_gzip(b"twice")), "packed again"),
        (_gzip(archive()), "zip archive"),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", ""])
def test_what_is_no_text_is_refused_by_name(body: bytes, what: str, name: str) -> None:
    with pytest.raises(UnsupportedMedia, match=what):
        read(body, filename=name)


@pytest.mark.parametrize(
    ("declared", "body", "both"),
    [
        ("text", LINES, "plain text.*JSON lines"),
        ("text", json.dumps(TEXTS).encode(), "plain text.*a JSON array"),
        ("text", parquet({"text": TEXTS}), "plain text.*Parquet"),
        ("jsonl", json.dumps(OBJECTS, indent=1).encode(), "JSON lines.*a JSON array"),
        ("jsonl", b"text,label\none,1\n", "JSON lines.*plain text"),
        ("json", b"One upon a time.\n", "JSON.*plain text"),
        ("csv", LINES, "CSV.*JSON lines"),
        ("parquet", b"text\none\n", "Parquet.*plain text"),
    ],
)
def test_what_is_declared_and_contradicts_the_content_is_refused_with_both(
    declared: str, body: bytes, both: str
) -> None:
    with pytest.raises(InvalidCorpus, match=both):
        read(body, declared=declared)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a.json", b"One upon a time.\n"),
        ("a.jsonl.gz", _gzip(b"One upon a time.\n")),
        ("a.parquet", b"One upon a time.\n"),
        ("a.txt", b'{\n  "text": "one"\n}\n'),
    ],
)
def test_a_name_that_the_content_contradicts_is_refused(name: str, body: bytes) -> None:
    with pytest.raises(InvalidCorpus, match=name.replace(".", r"\.")):
        read(body, filename=name)


def test_a_charset_that_the_content_contradicts_is_refused() -> None:
    with pytest.raises(InvalidCorpus, match=r"utf-8.*utf-16"):
        read("\ufeffa".encode("utf-16-le"), charset="utf-8")
    with pytest.raises(InvalidCorpus, match=r"utf-16.*no byte order mark"):
        read(b"a", charset="utf-16")


# JSON


def test_json_lines_are_objects_or_strings() -> None:
    assert read(b'{"text": "a"}\n\n"b"\n') == ["a", "b"]
    assert read(b'{"body": "a", "text": 1}', field="body") == ["a"]


@pytest.mark.parametrize("size", [1, 3, 64, 1 << 16])
def test_an_array_is_read_as_it_comes(size: int) -> None:
    rng = random.Random(size)
    texts = ["".join(rng.choices('ab "\\\n\t{}[],:é🦉', k=rng.randrange(0, 40))) for _ in range(60)]
    items = [t if rng.random() < 0.5 else {"n": [1, {"a": -2.5e3}], "text": t} for t in texts]

    for indent in (None, 2):
        for is_ascii in (True, False):
            body = json.dumps(items, indent=indent, ensure_ascii=is_ascii)
            assert read(body.encode(), filename="a.json", size=size) == texts


@pytest.mark.parametrize("body", [b"[]", b" [ ]\n"])
def test_an_empty_array_has_no_documents(body: bytes) -> None:
    assert read(body) == []


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'["a", "b"', "found the end"),
        (b'["a", "b" "c"]', 'found "'),
        (b'["a", ]', "element 2 is broken JSON"),
        (b'["a", "b]', "element 2 is broken JSON"),
        (b'["a"] "b"', "behind the end"),
        (b'[{"text": "a"}, {"text": nothing}]' + b" " * 200_000, "element 2 is broken JSON"),
        (b'["a", "\xff"]', "no UTF-8"),
    ],
)
def test_a_broken_array_says_where(body: bytes, why: str) -> None:
    with pytest.raises(InvalidCorpus, match=why):
        read(body, size=16)


# Tables


@pytest.mark.parametrize("size", [1, 9, 1 << 16])
def test_a_column_of_a_table_is_read_as_rfc_4180_has_it(size: int) -> None:
    body = b'id,text\r\n1,one\r\n2,"two, ""2"",\r\nand more"\r\n\r\n3,""\r\n'

    assert read(body, filename="a.csv", field="text", size=size) == [
        "one",
        'two, "2",\r\nand more',
        "",
    ]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a.tsv", b"text\tlabel\none, two\t1\n"),
        ("a.csv", b"text;label\none, two;1\n"),
        ("a.csv.gz", _gzip(b'\xef\xbb\xbf"text","label"\n"one, two",1\n')),
        ("a.tsv", "\ufefftext\tlabel\none, two\t1\n".encode("utf-16-le")),
    ],
)
def test_delimiters_and_marks_of_spreadsheets_are_known(name: str, body: bytes) -> None:
    assert read(body, filename=name, field="text") == ["one, two"]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_table_without_a_field_is_refused_with_its_columns(name: str) -> None:
    body = b"text\tlabel\n" if name == "a.tsv" else b"text,label\n"

    with pytest.raises(InvalidCorpus, match=r"needs the field.*its fields are text, label"):
        read(body + body, filename=name)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"id,body\n1,a\n", "no field 'text'; its fields are id, body"),
        (b"text,text\na,b\n", "more than one field 'text'"),
        (b'text\n"a\n', "line 2: unexpected end of data"),
        (b'text\n"a" b\n', "line 2: "),
        (b"text,n\na\n", "line 2 has 1 fields, the first has 2"),
        (b"text\n\xff\n", "line 2 is no UTF-8"),
    ],
)
def test_a_broken_table_says_where(body: bytes, why: str) -> None:
    with pytest.raises(InvalidCorpus, match=why):
        read(body, declared="csv", field="text")


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"body": ["a"]}, "no field 'text'; its fields are body"),
        ({"text": [1]}, "is int64, not a string"),
        (
            {"text": ["a", None], "id": [1, 2]},
            "row 2: the field 'text' is null; its fields are text, id",
        ),
    ],
)
def test_a_column_of_parquet_that_is_no_text_is_refused(table: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidCorpus, match=why):
        read(parquet(table))


def test_a_damaged_parquet_file_is_refused() -> None:
    with pytest.raises(InvalidCorpus, match="damaged"):
        read(parquet({"text": TEXTS})[:-9])


# Bad lines


BAD_LINES = (
    b'{"text": "a", "url": "u"}\n{"text": null, "url": "u"}\n{"body": "b"}\n7\n{broken\n"\xff"\n'
    b'{"text": ["c"]}\n"d"\n{"text": "e", "text": "f"}\n'
)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (
            b'{"text": null, "url": "u"}',
            "line 1: the field 'text' is null, not a string; its fields are text, url",
        ),
        (b'"a"\n{"text": ["b"]}', "line 2: the field 'text' is a list"),
        (b'"a"\n{"body": "b", "n": 1}', "line 2 has no field 'text'; its fields are body, n"),
        (b'"a"\n7', "line 2 is a number"),
        (b'["a", {"text": true}]', "element 2: the field 'text' is true"),
        (b'["a", null]', "element 2 is null"),
        (b'[{"text": "a", "text": "b"}]', "element 1: the name 'text' stands twice"),
        (b"ok\nbad \xff", "line 2 is no UTF-8: its byte 4 is 0xff"),
        (b"x" * 70_000 + b"\nbad \0", "line 2 has a NUL byte"),
    ],
)
def test_a_bad_line_is_named_with_the_field_and_the_fields_that_were_seen(
    body: bytes, why: str
) -> None:
    with pytest.raises(InvalidCorpus, match=why):
        read(body)


def test_bad_lines_are_skipped_and_counted_when_asked_for() -> None:
    notes = Notes()

    assert read(BAD_LINES, notes, skips_bad_lines=True) == ["a", "d"]
    assert notes.bad_lines_skipped == 7


@pytest.mark.parametrize(
    ("body", "how"),
    [
        (b'["a", null, {"text": 1}, {"text": "b"}]', {}),
        (b"text,n\na,1\nb\nc,1,2\nb,2\n", {"declared": "csv", "field": "text"}),
        (parquet({"text": ["a", None, None, "b"]}), {}),
        (b"a\n\xff\n\xfe\nb\n", {"filename": "a.txt"}),
        (b'broken\n7\n"a"\n"b"\n', {"filename": "a.jsonl"}),
    ],
)
def test_elements_rows_and_lines_of_text_are_skipped_too(body: bytes, how: dict[str, Any]) -> None:
    notes = Notes()

    assert read(body, notes, skips_bad_lines=True, **how) == ["a", "b"]
    assert notes.bad_lines_skipped == 2


def test_a_file_of_bad_lines_alone_is_refused_with_the_first() -> None:
    with pytest.raises(
        InvalidCorpus, match="all 2 lines were skipped; the first: line 1 has no field"
    ):
        read(b'{"a": 1}\n{"a": 2}\n', skips_bad_lines=True)


# gzip and zstd


MEMBER = _gzip(b"one\ntwo\n")


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        bytes(1),
        bytes(512),
        bytes(200_000),
        b"\r\n",
        b"\x1fx",
        b"no gzip" * 20,
        b"\0\0x",
        MEMBER,
    ],
)
@pytest.mark.parametrize("size", [1, 4096])
def test_bytes_behind_a_gzip_member_are_what_gzip_makes_of_them(tail: bytes, size: int) -> None:
    notes = Notes()

    ours = read(MEMBER + tail, notes, size=size, filename="a.txt")
    theirs = subprocess.run(["gzip", "-dc"], input=MEMBER + tail, capture_output=True, check=False)

    assert "".join(f"{t}\n" for t in ours).encode() == theirs.stdout
    assert bool(notes.warnings) is (theirs.returncode == 2)
    assert theirs.returncode in (0, 2)


def test_a_warning_says_how_much_was_left_out() -> None:
    notes = Notes()

    read(MEMBER + b"\r\n", notes)

    assert notes.warnings == ["2 bytes behind the gzip data are no gzip and were left out"]


@pytest.mark.parametrize("cut_at", [1, 5, -9, -4, -1])
def test_gzip_that_is_cut_short_or_damaged_is_refused(cut_at: int) -> None:
    for body in (MEMBER[:cut_at], MEMBER + MEMBER[:cut_at]):
        with pytest.raises(MalformedRequest):
            read(body, packing="gzip")
    damaged = MEMBER[:-6] + b"\xff\xff" + MEMBER[-4:]
    with pytest.raises(MalformedRequest, match="damaged"):
        read(damaged)


def test_gzip_of_the_transport_may_hold_a_packed_file() -> None:
    assert read(_gzip(MEMBER), encoded=True) == ["one", "two"]
    assert read(MEMBER, encoded=True) == ["one", "two"]


def test_zstd_of_several_frames_is_one_file_and_damage_is_refused() -> None:
    frame = zstd(b"one\ntw")

    assert read(frame + zstd(b"o\n"), size=3) == ["one", "two"]
    for body in (frame[:-3], frame + b"\r\n"):
        with pytest.raises(MalformedRequest, match="zstd"):
            read(body)


# Bounds

LONG_LINE = b"x" * 1023 + b"\n"
CSV = {"declared": "csv", "field": "a"}


@pytest.mark.parametrize(
    ("body", "how", "error", "pointer"),
    [
        (b"ok\nbad \xff", {}, InvalidCorpus, "/1"),
        (b'"ok"\n{bad}', {"declared": "jsonl"}, InvalidCorpus, "/1"),
        (b'{"txt": "a"}', {"declared": "jsonl"}, InvalidCorpus, "/0"),
        (b"no gzip", {"encoded": True}, MalformedRequest, None),
        (b"no gzip", {"packing": "gzip"}, MalformedRequest, None),
        (b"x" * 101, {"max_bytes": 100}, TooLarge, None),
        (b"x" * (LONGEST_DOCUMENT + 1), {}, TooLarge, None),
        (LONG_LINE * 8300, {"sample_by": "document"}, TooLarge, None),
        (b'["' + b"x" * (2 * LONGEST_DOCUMENT), {}, TooLarge, None),
        (b'a\n"' + LONG_LINE * 8300, CSV, TooLarge, None),
        (b'a,b\n"' + LONG_LINE * 4200 + b'","' + LONG_LINE * 4200 + b'"\n', CSV, TooLarge, None),
        (parquet({"text": ["x" * 5000]}), {"max_bytes": 4000}, TooLarge, None),
        (parquet({"text": ["x" * (LONGEST_DOCUMENT + 1)]}), {}, TooLarge, None),
        (parquet({"text": ["x" * 5000] * 100}), {"max_bytes": 20_000}, TooLarge, None),
    ],
)
def test_bytes_that_go_wrong_say_where(
    body: bytes, how: dict[str, Any], error: type[PolysemeError], pointer: str | None
) -> None:
    with pytest.raises(error) as caught:
        read(body, **how)

    assert [d.pointer for d in caught.value.details] == ([] if pointer is None else [pointer])


LINE = b'"word word word"\n'
ROW = b'"word, word word"\n'


@pytest.mark.parametrize(
    "body",
    [
        _gzip(LINE * (1 << 20)),
        zstd(LINE * (1 << 20)),
        _gzip(b"[" + b'"word word word",' * (1 << 20)),
        _gzip(bytes(60 << 20)),
        _gzip(b"") * (1 << 16),
        _gzip(LINE) + bytes(2 << 20),
    ],
)
def test_a_bomb_stops_early_and_stays_small(body: bytes) -> None:
    tracemalloc.start()

    with pytest.raises((TooLarge, UnsupportedMedia)):
        for _ in read_texts(cut(body, 1 << 16), Reading(max_bytes=1 << 20), Notes()):
            pass

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize(
    ("first", "piece", "how"),
    [
        (b"", b"word word word\n", {}),
        (b"", LINE, {}),
        (b'["a"', b', {"text": "word word"}', {}),
        (b"text\n", ROW, {"declared": "csv", "field": "text"}),
    ],
)
def test_a_long_file_is_never_whole_in_memory(
    first: bytes, piece: bytes, how: dict[str, Any]
) -> None:
    def chunks() -> Iterator[bytes]:
        yield first + piece
        for _ in range(16):
            yield piece * ((1 << 16) // len(piece))

    tracemalloc.start()
    count = 0
    try:
        for _ in read_texts(chunks(), Reading(**how), Notes()):
            count += 1
    except InvalidCorpus:  # the array has no end
        assert first.startswith(b"[")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count > 40_000
    assert peak < 1 << 20


def test_lines_that_are_skipped_are_bounded_by_those_that_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("polyseme.contract.texts.read.MOST_SKIPPED", 5)
    reading = Reading(declared="jsonl", skips_bad_lines=True)

    assert list(read_texts([b'"a"\n' + b"1\n" * 15], reading, Notes())) == ["a"]
    with pytest.raises(TooLarge, match="16 lines or rows"):
        list(read_texts([b'"a"\n' + b"1\n" * 16], reading, Notes()))
