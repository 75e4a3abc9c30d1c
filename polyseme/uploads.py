"""Texts, files, folders and directions as the bytes of an upload. Knows nothing of the service."""

from __future__ import annotations

import json
import logging
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from polyseme.contract.errors import PolysemeError
from polyseme.contract.files.safetensors import format_header
from polyseme.contract.texts.formats import Notes, Reading, format_of
from polyseme.contract.texts.languages import language_of
from polyseme.contract.texts.read import read_texts
from polyseme.problems import Unreadable

LANGUAGE: Final = "language"  # the field of the JSON lines that are sent
_CHUNK: Final = 1 << 18
_MOST_NAMED: Final = 10
_log = logging.getLogger("polyseme.client")


@dataclass(frozen=True)
class Folder:
    """The files below a folder, in the order of their names."""

    taken: tuple[Path, ...]
    left_out: tuple[Path, ...]

    @classmethod
    def of(cls, path: Path, field: str | None) -> Folder:
        """A table is taken where the field is said that has the text."""
        files = sorted(p for p in path.rglob("*") if p.is_file())
        taken = tuple(f for f in files if _is_taken(f, field))
        return cls(taken, tuple(f for f in files if f not in set(taken)))

    def tell(self) -> None:
        """Warns of what is left out."""
        if self.left_out:
            named = ", ".join(f.name for f in self.left_out[:_MOST_NAMED])
            more = f" and {len(self.left_out) - _MOST_NAMED:,} more"
            _log.warning("Left out: %s%s.", named, more if len(self.left_out) > _MOST_NAMED else "")


def _is_taken(file: Path, field: str | None) -> bool:
    """A file without an ending is not: a folder has others than texts."""
    named = format_of(file.name) if file.suffix else None
    return named is not None and (field is not None or named not in ("csv", "tsv"))


def read_file(path: Path) -> Iterator[bytes]:
    """A file in pieces."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def pack_vectors(
    vectors: Any, bias: Any, labels: Sequence[str] | None, **said: str | int | None
) -> bytes:
    """A safetensors file of directions, in float32. vectors, bias: rows of numbers and numbers, as
    lists, or what has `tolist`. said: what the file says of them.

    Raises ValueError where rows are not of one length.
    """
    rows: list[list[float]] = _listed(vectors)
    shapes: dict[str, tuple[int, ...]] = {"vectors": (len(rows), len(rows[0]) if rows else 0)}
    if any(len(row) != len(rows[0]) for row in rows):
        raise ValueError("vectors: the rows are not all of one length")
    numbers = array("f", (number for row in rows for number in row))
    if bias is not None:
        of_bias: list[float] = _listed(bias)
        shapes["bias"] = (len(of_bias),)
        numbers.extend(of_bias)
    if sys.byteorder == "big":
        numbers.byteswap()
    metadata = {name: str(value) for name, value in said.items() if value is not None}
    metadata |= {} if labels is None else {"labels": json.dumps(list(labels))}
    return format_header(shapes, metadata) + numbers.tobytes()


def _listed(numbers: Any) -> Any:
    return numbers.tolist() if hasattr(numbers, "tolist") else [_listed_row(row) for row in numbers]


def _listed_row(row: Any) -> Any:
    return row.tolist() if hasattr(row, "tolist") else row


def plan_folder(query: Mapping[str, Any]) -> Reading:
    """How the files of a folder are read. query: as of an upload; a text file is a document, unless
    `sample_by` says otherwise.
    """
    return Reading(
        declared=query.get("format"),
        sample_by=query.get("sample_by") or "document",
        field=query.get("field"),
        language_field=query.get("language_field"),
        skips_bad_lines=query.get("on_bad_line") == "skip",
    )


def read_folder(folder: Folder, reading: Reading) -> Iterator[bytes]:
    """The documents of all files as JSON lines, one after the other, each with its language where
    it has one. One that is to be skipped is `null`, for the service to count.

    reading: of each; plain text has no field that names a language. Raises Unreadable naming
    the file.
    """
    for file in folder.taken:
        notes = Notes()
        own = replace(reading, filename=file.name)
        if (reading.declared or format_of(file.name)) == "text":
            own = replace(own, language_field=None)
        try:
            for text in read_texts(read_file(file), own, notes):
                yield _dump(text, language_of(text))
            for _ in range(notes.bad_lines_skipped):
                yield b"null\n"
        except PolysemeError as e:
            raise Unreadable(f"{file}: {e.message}") from e
        for warning in notes.warnings:
            _log.warning("%s: %s", file, warning)


def text_lines(
    texts: Sequence[str], languages: Sequence[str | None] | None = None
) -> Iterator[bytes]:
    """Documents as JSON lines. Raises ValueError for another number of languages."""
    for text, language in zip(texts, languages or [None] * len(texts), strict=True):
        yield _dump(text, language)


def _dump(text: str, language: str | None) -> bytes:
    document = {"text": text} | ({} if language is None else {LANGUAGE: language})
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"
