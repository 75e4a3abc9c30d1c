"""How an uploaded corpus is to be read, from the headers and the query of its request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from polyseme.contract.errors import InvalidRequest, UnsupportedMedia
from polyseme.contract.texts.formats import FORMAT_NAMES, Format, Packing, Reading

_FORMATS: Final[Mapping[str, Format]] = {
    "text/plain": "text",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "application/vnd.apache.parquet": "parquet",
}
_PACKINGS: Final[Mapping[str, Packing]] = {
    "application/gzip": "gzip",
    "application/x-gzip": "gzip",
    "application/zstd": "zstd",
}
_ANYTHING: Final = "application/octet-stream"  # what is inside decides
MEDIA_TYPES: Final = (*_FORMATS, *_PACKINGS, _ANYTHING)
_CHARSETS: Final = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "utf-16": "utf-16",
    "utf16": "utf-16",
}


def plan_upload(
    mimetype: str,
    charset: str | None,
    encoding: str | None,
    query: Mapping[str, Any],
    limit: int,
    max_lines: int,
) -> Reading:
    """How to read a body of at most `limit` bytes and `max_lines` lines.

    Raises UnsupportedMedia, InvalidRequest.
    """
    if charset is not None and charset.lower() not in _CHARSETS:
        raise UnsupportedMedia(f"charset {charset!r}: a corpus is UTF-8, or UTF-16 with its mark")
    if encoding not in (None, "identity", "gzip", "x-gzip"):
        raise UnsupportedMedia(f"Content-Encoding {encoding!r}: gzip or none")
    if mimetype not in MEDIA_TYPES:
        raise UnsupportedMedia(
            f"Content-Type {mimetype!r}: send application/json, {', '.join(MEDIA_TYPES)}"
        )
    return Reading(
        declared=_read_format(mimetype, query.get("format")),
        filename=query.get("filename", ""),
        encoded=encoding in ("gzip", "x-gzip"),
        packing=_PACKINGS.get(mimetype),
        charset=None if charset is None else _CHARSETS[charset.lower()],
        sample_by=query.get("sample_by", "line"),
        field=query.get("field"),
        language_field=query.get("language_field"),
        skips_bad_lines=query.get("on_bad_line") == "skip",
        max_bytes=limit,
        max_lines=max_lines,
    )


def _read_format(mimetype: str, given: Format | None) -> Format | None:
    """Raises InvalidRequest when the Content-Type says one thing and the query another."""
    typed = _FORMATS.get(mimetype)
    if given is not None and typed is not None and given != typed:
        raise InvalidRequest(
            f"the Content-Type {mimetype} is {FORMAT_NAMES[typed]}, and format={given}: leave one "
            f"of them away",
            pointer="/format",
        )
    return given or typed
