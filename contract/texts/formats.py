"""How a file is to be read, and what there is to tell of it besides its documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final, Literal

LONGEST_DOCUMENT: Final = 8 << 20  # bytes; of a line, an element or a row with all its fields too

Format = Literal["text", "jsonl", "json", "csv", "tsv", "parquet"]
Packing = Literal["gzip", "zstd"]
SampleBy = Literal["line", "paragraph", "document"]

FORMAT_NAMES: Final[Mapping[Format, str]] = {
    "text": "plain text",
    "jsonl": "JSON lines",
    "json": "JSON",
    "csv": "CSV",
    "tsv": "TSV",
    "parquet": "Parquet",
}
TAKEN: Final = (
    "plain text, JSON lines, a JSON array of strings or objects, CSV and TSV with a field, "
    "Parquet; as they are, or with gzip or zstd"
)
_ENDINGS: Final[Mapping[str, Format]] = {
    "": "text",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
_PACKED: Final = (".gz", ".gzip", ".zst", ".zstd")


@dataclass(frozen=True)
class Reading:
    """What is known of a file before it is opened."""

    declared: Format | None = None  # what its sender says it is; None: what is inside decides
    filename: str = ""  # its ending counts where what is inside may be one or the other
    encoded: bool = False  # gzip around whatever the file is, as HTTP's Content-Encoding
    packing: Packing | None = None  # declared, of the file itself
    charset: str | None = None  # declared: utf-8 or utf-16; None: what is inside decides
    sample_by: SampleBy = "line"  # what a document is in plain text
    field: str | None = None  # that has the text; None: "text", and needed for a table
    language_field: str | None = None  # that names the document's language; None: no field does
    skips_bad_lines: bool = False  # lines that are no document are counted instead of refused
    max_bytes: int = 1 << 30  # as it is, and unpacked
    max_lines: int = 1 << 40  # blank ones, repeated ones and those that are no document included
    folder: str | None = (
        None  # for a copy of what can only be read from its end; None: the system's
    )

    @property
    def text_field(self) -> str:
        return self.field or "text"


@dataclass
class Notes:
    """Filled while a file is read."""

    bad_lines_skipped: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class BadLine:
    """A line, element or row that is no document."""

    index: int  # from 0
    why: str  # a sentence that names it


def format_of(filename: str) -> Format | None:
    """What a name's ending stands for; None for one that is not known."""
    return _ENDINGS.get(ending_of(filename))


def ending_of(filename: str) -> str:
    """In lower case, without what only says that the file is packed: `.json` of `a.json.gz`."""
    path = PurePath(filename)
    if path.suffix.lower() in _PACKED:
        path = path.with_suffix("")
    return path.suffix.lower()
