"""Bytes as lines, and lines as plain text."""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Iterable, Iterator
from typing import Final

from polyseme.contract.errors import InvalidCorpus, TooLarge
from polyseme.contract.texts.formats import LONGEST_DOCUMENT, BadLine, SampleBy

UTF8_MARK: Final = codecs.BOM_UTF8
UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def transcode(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """UTF-16 with its mark as UTF-8 without one. Raises InvalidCorpus."""
    decoder, size = codecs.getincrementaldecoder("utf-16")(), 0
    for chunk in itertools.chain(chunks, [b""]):
        piece = _decode_utf16(decoder, chunk, size)
        size += len(chunk)
        if piece:
            yield piece


def _decode_utf16(decoder: codecs.IncrementalDecoder, chunk: bytes, before: int) -> bytes:
    """An empty chunk is the end."""
    try:
        return decoder.decode(chunk, final=not chunk).encode()
    except UnicodeError as e:
        raise InvalidCorpus(f"the UTF-16 is damaged, behind byte {before}", pointer="") from e


def split_lines(
    chunks: Iterable[bytes], *, most: int = 1 << 40, keep_ends: bool = False
) -> Iterator[bytes]:
    """Lines without their ends, unless those are kept. Raises TooLarge for one longer than a
    document may be, and for more lines than `most`.
    """
    rest: list[bytes] = []
    held = count = 0
    for chunk in chunks:
        *lines, last = chunk.split(b"\n")
        count += len(lines)
        if count > most:
            raise too_many(most)
        for line in lines:
            whole = b"".join([*rest, line])
            yield whole + b"\n" if keep_ends else whole.removesuffix(b"\r")
            rest, held = [], 0
        rest.append(last)
        held += len(last)
        if held > LONGEST_DOCUMENT:
            raise too_long()
    if held:
        whole = b"".join(rest)
        yield whole if keep_ends else whole.removesuffix(b"\r")


def read_plain(lines: Iterable[bytes], sample_by: SampleBy) -> Iterator[str | BadLine]:
    """Lines, paragraphs or the whole. Only a line can be bad by itself.

    Raises InvalidCorpus for a bad one in the others, TooLarge.
    """
    texts = (decode_line(line, i) for i, line in enumerate(lines))
    if sample_by == "line":
        return texts
    return _join(texts, whole=sample_by == "document")


def _join(texts: Iterable[str | BadLine], *, whole: bool) -> Iterator[str]:
    """Paragraphs end at a line with nothing but white space;

    `whole` makes one document of everything.
    """
    held: list[str] = []
    size = 0
    for text in texts:
        if isinstance(text, BadLine):
            raise InvalidCorpus(text.why, pointer=f"/{text.index}")
        if not whole and not text.strip():
            yield "\n".join(held)
            held, size = [], 0
            continue
        held.append(text)
        size += len(text.encode()) + 1
        if size > LONGEST_DOCUMENT:
            raise too_long()
    yield "\n".join(held)


def decode_line(line: bytes, index: int) -> str | BadLine:
    if b"\0" in line:
        return BadLine(index, f"line {index + 1} has a NUL byte: that is no text")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as e:
        why = f"line {index + 1} is no UTF-8: its byte {e.start} is 0x{line[e.start]:02x}"
        return BadLine(index, why)


def too_many(most: int) -> TooLarge:
    return TooLarge(f"the corpus has more than {most} lines, elements or rows")


def too_long() -> TooLarge:
    return TooLarge(f"a document has more than {LONGEST_DOCUMENT} bytes")
