"""Texts and files as the bytes of an upload. Knows nothing of the service."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

_CHUNK = 1 << 18


def media_type_of(path: Path) -> tuple[str, str | None]:
    """The media type of an upload, and what is inside when it is gzip."""
    if path.is_dir():
        return "application/x-ndjson", None
    inner = "jsonl" if {".jsonl", ".ndjson"} & set(path.suffixes) else "text"
    if path.suffix == ".gz":
        return "application/gzip", inner
    return ("application/x-ndjson" if inner == "jsonl" else "text/plain"), None


def read_content(path: Path) -> Iterator[bytes]:
    """A file in pieces; a folder as JSON lines, its files in the order of their names."""
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            yield from _read_documents(file)
        return
    with path.open("rb") as file_:
        while chunk := file_.read(_CHUNK):
            yield chunk


def _read_documents(file: Path) -> Iterator[bytes]:
    if file.suffix in (".txt", ".md"):
        yield from text_lines([file.read_text(encoding="utf-8", errors="replace")])
    elif file.suffix in (".jsonl", ".ndjson"):
        with file.open("rb") as lines:
            yield from (line.rstrip(b"\n") + b"\n" for line in lines)


def text_lines(texts: Iterable[str]) -> Iterator[bytes]:
    """Documents as JSON lines."""
    for text in texts:
        yield json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n"
