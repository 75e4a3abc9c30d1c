"""What a file is, from its first bytes; its name and what its sender says are heard afterwards."""

from __future__ import annotations

import json
import re
from typing import Final, Literal

from polyseme.contract.errors import InvalidCorpus, UnsupportedMedia
from polyseme.contract.texts.formats import (
    FORMAT_NAMES,
    TAKEN,
    Format,
    Packing,
    Reading,
    ending_of,
    format_of,
)

HEAD: Final = 1 << 16  # bytes looked at

_PACKINGS: Final[tuple[tuple[bytes, Packing], ...]] = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
_PARQUET: Final = b"PAR1"
_OTHERS: Final = (
    (b"PK\x03\x04", "a zip archive, as .docx, .xlsx, .odt and .epub files are"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"%PDF-", "a PDF"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of an old Office"),
    (b"{\\rtf", "an RTF document"),
    (b"ARROW1", "an Arrow file"),
    (b"Obj\x01", "an Avro file"),
    (b"ORC", "an ORC file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format 3\0", "a SQLite database"),
    (b"GGUF", "a GGUF model"),
    (b"\x7fELF", "a program"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF87a", "a picture"),
    (b"GIF89a", "a picture"),
    (b"\xfd7zXZ\0", "packed with xz"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x04\x22\x4d\x18", "packed with lz4"),
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
)
_BZIP2: Final = re.compile(rb"BZh[1-9]1AY&SY")
_HTML: Final = re.compile(rb"\s*(<!--.{,2000}?-->\s*)?<(!doctype html|html)\b", re.I | re.S)
_XML: Final = re.compile(rb"\s*<\?xml\b")

_STRING: Final = rb'"(?:[^"\\]|\\.)*'
_OBJECT: Final = re.compile(rb"\s*\{\s*(?:\}|$|" + _STRING + rb'"\s*(?::|$))', re.S)
_ARRAY: Final = re.compile(
    rb"\s*\[\s*(?:\]|\{\s*(?:\}|$|" + _STRING + rb'"\s*(?::|$))|' + _STRING + rb'(?:"\s*[,\]]|$))',
    re.S,
)

# objects: a line each, as the first shows, or among strings; object: one that is not closed in its
# line; strings: other JSON among them; value: the first line is other JSON
Content = Literal["array", "objects", "object", "strings", "value", "text"]
_CONTENT_NAMES: Final[dict[Content, str]] = {
    "array": "a JSON array",
    "objects": "JSON lines",
    "object": "a JSON object over several lines",
    "strings": "JSON strings",
    "value": "other JSON",
    "text": "plain text",
}
_FITTING: Final[dict[Format, tuple[Content, ...]]] = {
    "text": ("text", "strings", "value"),
    "jsonl": ("objects", "object", "strings", "value"),
    "json": ("array", "objects", "object", "strings", "value"),
    "csv": ("text", "strings", "value"),
    "tsv": ("text", "strings", "value"),
    "parquet": (),
}


def recognise_packing(head: bytes) -> Packing | None:
    return next((packing for magic, packing in _PACKINGS if head.startswith(magic)), None)


def is_parquet(head: bytes) -> bool:
    return head.startswith(_PARQUET)


def check_text(head: bytes, declared: Format | None) -> None:
    """Raises UnsupportedMedia naming what is no text in UTF-8 or UTF-16 (that with its mark).

    head: with its byte order mark.
    """
    other = next((name for magic, name in _OTHERS if head.startswith(magic)), None)
    if other is None and _BZIP2.match(head):
        other = "packed with bzip2"
    if other is None and head[257:262] == b"ustar":
        other = "a tar archive"
    if other is None and declared is None and _HTML.match(head):
        other = "HTML"
    if other is None and declared is None and _XML.match(head):
        other = "XML"
    if other is not None:
        raise UnsupportedMedia(f"{_declared(declared)}the content is {other}. Taken are {TAKEN}")


def choose_format(head: bytes, reading: Reading) -> Format:
    """How a text is to be read: what is inside decides, and where that leaves a choice what is
    declared, then the file's name.

    head: UTF-8 without a byte order mark. Raises InvalidCorpus when one contradicts the other,
    UnsupportedMedia for a file that may be anything.
    """
    content = _look_into(head)
    if reading.declared is not None:
        if _fits(reading.declared, content, reading) or (reading.declared, content) == _MAY_BE_TEXT:
            return reading.declared
        raise InvalidCorpus(
            f"{_declared(reading.declared)}the content is {_CONTENT_NAMES[content]}", pointer="/0"
        )
    if content == "array":
        return "json"
    if content == "objects" or (content == "strings" and not reading.filename):
        return "jsonl"
    named = format_of(reading.filename)
    if named is None:
        raise UnsupportedMedia(
            f"{reading.filename}: what is inside could be plain text, and the ending "
            f"{ending_of(reading.filename)} is not known. If it is plain text, say so with the "
            f"format text. Taken are {TAKEN}"
        )
    if _fits(named, content, reading):
        return named
    raise InvalidCorpus(
        f"{reading.filename or 'the content'}: expected {FORMAT_NAMES[named]}, but the content is "
        f"{_CONTENT_NAMES[content]}",
        pointer="/0",
    )


_MAY_BE_TEXT: Final = ("text", "object")  # whoever says so may mean the source of a program, say


def _fits(kind: Format, content: Content, reading: Reading) -> bool:
    # The first line alone may be the bad one that is to be skipped.
    is_skipped = reading.skips_bad_lines and kind in ("jsonl", "json") and content == "text"
    return content in _FITTING[kind] or is_skipped


def refuse_parquet(declared: Format) -> InvalidCorpus:
    return InvalidCorpus(f"{_declared(declared)}the content is Parquet", pointer="/0")


def _declared(declared: Format | None) -> str:
    return "" if declared is None else f"declared as {FORMAT_NAMES[declared]}, but "


def _look_into(head: bytes) -> Content:
    if _ARRAY.match(head):
        return "array"
    lines = head.split(b"\n")
    if _OBJECT.match(head):
        first = next((line for line in lines if line.strip()), b"")
        is_closed = _parse(first) is not _NO_JSON or len(lines) == 1
        return "objects" if is_closed else "object"
    if len(head) >= HEAD:
        lines = lines[:-1]  # which is cut short
    values = [_parse(line) for line in lines if line.strip()]
    if not values or values[0] is _NO_JSON:
        return "text"
    if _NO_JSON in values or not isinstance(values[0], str):
        return "value"
    return "objects" if any(isinstance(value, dict) for value in values) else "strings"


_NO_JSON: Final = object()


def _parse(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return _NO_JSON
