"""A file's bytes as its documents: unpacked, recognised, spelled in UTF-8, and taken apart."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from functools import partial

from polyseme.contract.errors import InvalidCorpus, TooLarge, UnsupportedMedia
from polyseme.contract.texts.formats import BadLine, Format, Notes, Reading
from polyseme.contract.texts.json_texts import read_json_array, read_json_lines
from polyseme.contract.texts.languages import language_of
from polyseme.contract.texts.lines import (
    UTF8_MARK,
    UTF16_MARKS,
    read_plain,
    split_lines,
    too_many,
    transcode,
)
from polyseme.contract.texts.recognise import (
    HEAD,
    check_text,
    choose_format,
    is_parquet,
    recognise_packing,
    refuse_parquet,
)
from polyseme.contract.texts.tables import read_parquet, read_table
from polyseme.contract.texts.unpack import unpack

# Lines that are no document, where those are skipped, and so many more for each that is one.
MOST_SKIPPED = 1_000_000
SKIPPED_A_TEXT = 10


def read_texts(chunks: Iterable[bytes], reading: Reading, notes: Notes) -> Iterator[str]:
    """The documents; `notes` is filled as they are read.

    In memory are a chunk and one document, or 256 rows of Parquet. Raises TooLarge, InvalidCorpus,
    UnsupportedMedia and MalformedRequest at the place where the bytes go wrong.
    """
    first_bad: BadLine | None = None
    has_language = False
    good = 0
    for count, found in enumerate(_read(chunks, reading, notes)):
        if count >= reading.max_lines:
            raise too_many(reading.max_lines)
        if not isinstance(found, BadLine):
            has_language = has_language or language_of(found) is not None
            good += 1
            yield found
        elif reading.skips_bad_lines:
            first_bad = first_bad or found
            notes.bad_lines_skipped += 1
            if notes.bad_lines_skipped > MOST_SKIPPED + SKIPPED_A_TEXT * good:
                raise TooLarge(
                    f"{notes.bad_lines_skipped} lines or rows are no documents: at most "
                    f"{MOST_SKIPPED} are skipped, and {SKIPPED_A_TEXT} for each that is one"
                )
        else:
            raise InvalidCorpus(found.why, pointer=f"/{found.index}")
    if not good and first_bad is not None:
        raise InvalidCorpus(
            f"all {notes.bad_lines_skipped} lines were skipped; the first: {first_bad.why}",
            pointer=f"/{first_bad.index}",
        )
    if reading.language_field is not None and not has_language:
        notes.warnings.append(f"no document has a language in the field {reading.language_field!r}")


def _read(chunks: Iterable[bytes], reading: Reading, notes: Notes) -> Iterator[str | BadLine]:
    if reading.language_field == reading.text_field:
        raise InvalidCorpus(
            f"the field {reading.text_field!r} has the text: it cannot name its language too",
            pointer="/language_field",
        )
    head, content = _peek(open_content(chunks, reading, notes))
    if is_parquet(head):
        if reading.declared not in (None, "parquet"):
            raise refuse_parquet(reading.declared)
        return read_parquet(content, reading)
    check_text(head, reading.declared)
    text = _as_utf8(head, content, reading.charset)
    head, text = _peek(text)
    if b"\0" in head:
        raise UnsupportedMedia(
            "the content has NUL bytes: it is binary, or UTF-16 without a byte order mark"
        )
    return _take_apart(text, choose_format(head, reading), reading)


def _take_apart(text: Iterator[bytes], kind: Format, reading: Reading) -> Iterator[str | BadLine]:
    lines = partial(split_lines, text, most=reading.max_lines)
    if kind == "jsonl":
        return read_json_lines(lines(), reading)
    if kind == "text":
        _refuse_language(reading)
        return read_plain(lines(), reading.sample_by)
    if kind in ("csv", "tsv"):
        return read_table(lines(keep_ends=True), reading, kind)
    head, text = _peek(text)
    if head.lstrip().startswith(b"["):
        return read_json_array(text, reading)
    return read_json_lines(split_lines(text, most=reading.max_lines), reading)


def _refuse_language(reading: Reading) -> None:
    if reading.language_field is not None:
        raise InvalidCorpus(
            f"plain text has no fields, so none {reading.language_field!r} that names a "
            "document's language",
            pointer="/language_field",
        )


def open_content(chunks: Iterable[bytes], reading: Reading, notes: Notes) -> Iterator[bytes]:
    """What is in the file, after the transport's gzip and the file's own packing.

    Raises TooLarge, MalformedRequest and UnsupportedMedia, some of them as it is read.
    """
    content = _bound(chunks, reading.max_bytes)
    if reading.encoded:
        content = _bound(unpack(content, "gzip", notes), reading.max_bytes)
    head, content = _peek(content)
    packing = reading.packing or recognise_packing(head)
    if packing is None:
        return content
    head, content = _peek(_bound(unpack(content, packing, notes), reading.max_bytes))
    if inner := recognise_packing(head):
        raise UnsupportedMedia(f"what was unpacked is packed again, with {inner}: unpack it once")
    return content


def _as_utf8(head: bytes, content: Iterator[bytes], charset: str | None) -> Iterator[bytes]:
    """Without a byte order mark."""
    found = "utf-16" if head.startswith(UTF16_MARKS) else "utf-8"
    if charset is not None and charset != found and head:
        raise InvalidCorpus(
            f"declared as {charset}, but the content "
            + (
                "has the mark of utf-16"
                if found == "utf-16"
                else "has no byte order mark of utf-16"
            ),
            pointer="",
        )
    if found == "utf-16":
        return transcode(content)
    if head.startswith(UTF8_MARK):
        first = next(content)
        return itertools.chain([first.removeprefix(UTF8_MARK)], content)
    return content


def _peek(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, as many as tell what it is, and all of them."""
    head = b""
    while len(head) < HEAD and (chunk := next(chunks, b"")):
        head += chunk
    return head, itertools.chain([head] if head else [], chunks)


def _bound(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"the corpus has more than {limit} bytes unpacked")
        yield chunk
