"""Uploaded corpora as a stream of documents: plain text or JSON lines, gzipped or not, never whole
in memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal

from polyseme.contract.errors import InvalidCorpus, MalformedRequest, TooLarge, UnsupportedMedia
from polyseme.service.http.body import parse_json

LONGEST_DOCUMENT = 8 << 20  # bytes
_CHUNK = 1 << 16

SampleBy = Literal["line", "paragraph", "document"]
_TEXT = ("text/plain",)
_LINES = ("application/x-ndjson", "application/jsonl")
_GZIP = ("application/gzip", "application/x-gzip")
MEDIA_TYPES = (*_TEXT, *_LINES, *_GZIP)


@dataclass(frozen=True)
class Upload:
    """How to read a body."""

    kind: Literal["text", "jsonl"]
    gzipped: bool
    sample_by: SampleBy = "line"
    field: str = "text"
    max_bytes: int = 1 << 30  # unpacked


def plan_upload(
    mimetype: str, charset: str | None, encoding: str | None, query: dict[str, Any], limit: int
) -> Upload:
    """How to read a body with these headers and query. Raises UnsupportedMedia."""
    if charset is not None and charset.lower() not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMedia(f"charset {charset!r}: a corpus is UTF-8")
    if encoding not in (None, "identity", "gzip", "x-gzip"):
        raise UnsupportedMedia(f"Content-Encoding {encoding!r}: gzip or none")
    packed = mimetype in _GZIP
    if packed and "format" not in query:
        raise UnsupportedMedia("application/gzip needs ?format=text or ?format=jsonl")
    if not packed and mimetype not in (*_TEXT, *_LINES):
        raise UnsupportedMedia(
            f"Content-Type {mimetype!r}: send application/json, {', '.join(MEDIA_TYPES)}"
        )
    kind: Literal["text", "jsonl"] = (
        query["format"] if packed else "text" if mimetype in _TEXT else "jsonl"
    )
    return Upload(
        kind=kind,
        gzipped=packed or encoding in ("gzip", "x-gzip"),
        sample_by=query.get("sample_by", "line"),
        field=query.get("field", "text"),
        max_bytes=limit,
    )


def read_upload(stream: IO[bytes], upload: Upload) -> Iterator[str]:
    """The documents.

    Raises TooLarge, InvalidCorpus and MalformedRequest at the place where the bytes go wrong.
    """
    chunks = iter(lambda: stream.read(_CHUNK), b"")
    bounded = _bound(_unpack(chunks) if upload.gzipped else chunks, upload.max_bytes)
    if upload.kind == "jsonl":
        return _read_lines(_split(bounded), upload.field)
    if upload.sample_by == "line":
        return (_decode(line, i) for i, line in enumerate(_split(bounded)))
    return _read_paragraphs(_split(bounded), whole=upload.sample_by == "document")


def _bound(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"the corpus has more than {limit} bytes unpacked")
        yield chunk


def _unpack(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """gzip, member after member, in pieces of bounded size whatever the ratio."""
    decoder = None
    for chunk in chunks:
        while chunk:
            decoder = decoder or zlib.decompressobj(31)
            try:
                piece = decoder.decompress(chunk, _CHUNK)
            except zlib.error as e:
                raise MalformedRequest(f"the gzip data is damaged: {e}") from e
            if piece:
                yield piece
            chunk = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
            decoder = None if decoder.eof else decoder
    if decoder is not None:
        yield from _drain(decoder)


def _drain(decoder: Any) -> Iterator[bytes]:
    piece = decoder.flush()
    if piece:
        yield piece
    if not decoder.eof:
        raise MalformedRequest("the gzip data ends early")


def _split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines without their ends. Raises TooLarge for one longer than a document may be."""
    rest: list[bytes] = []
    held = 0
    for chunk in chunks:
        *lines, last = chunk.split(b"\n")
        for line in lines:
            yield b"".join([*rest, line]).removesuffix(b"\r")
            rest, held = [], 0
        rest.append(last)
        held += len(last)
        if held > LONGEST_DOCUMENT:
            raise _too_long()
    if held:
        yield b"".join(rest).removesuffix(b"\r")


def _read_paragraphs(lines: Iterable[bytes], *, whole: bool) -> Iterator[str]:
    """Paragraphs end at a line with nothing but white space;

    `whole` makes one document of everything.
    """
    held: list[str] = []
    size = 0
    for i, line in enumerate(lines):
        text = _decode(line, i)
        if not whole and not text.strip():
            yield "\n".join(held)
            held, size = [], 0
            continue
        held.append(text)
        size += len(line) + 1
        if size > LONGEST_DOCUMENT:
            raise _too_long()
    yield "\n".join(held)


def _read_lines(lines: Iterable[bytes], field: str) -> Iterator[str]:
    for i, line in enumerate(lines):
        if line.strip():
            yield _read_document(line.removeprefix(b"\xef\xbb\xbf") if i == 0 else line, i, field)


def _read_document(line: bytes, i: int, field: str) -> str:
    try:
        value = parse_json(line)
    except MalformedRequest as e:
        raise InvalidCorpus(
            f"line {i + 1}: {e.message.replace('the body', 'it')}", pointer=f"/{i}"
        ) from e
    if isinstance(value, dict):
        if field not in value:
            raise InvalidCorpus(f"line {i + 1} has no field {field!r}", pointer=f"/{i}")
        value = value[field]
    if not isinstance(value, str):
        raise InvalidCorpus(
            f'line {i + 1}: expected {{"{field}": "…"}} or a string', pointer=f"/{i}"
        )
    return value


def _decode(line: bytes, i: int) -> str:
    try:
        return line.decode("utf-8-sig" if i == 0 else "utf-8")
    except UnicodeDecodeError as e:
        raise InvalidCorpus(
            f"line {i + 1} is no UTF-8: its byte {e.start} is 0x{line[e.start]:02x}",
            pointer=f"/{i}",
        ) from e


def _too_long() -> TooLarge:
    return TooLarge(f"a document has more than {LONGEST_DOCUMENT} bytes")
