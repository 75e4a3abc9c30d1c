from __future__ import annotations

import pytest

from polyseme.contract.errors import InvalidRequest, UnsupportedMedia
from polyseme.contract.texts.formats import Reading
from polyseme.service.corpora.uploads import plan_upload


def plan(
    mimetype: str, charset: str | None = None, encoding: str | None = None, **query: str
) -> Reading:
    return plan_upload(mimetype, charset, encoding, query, 100, 50)


def test_headers_and_query_say_how_a_body_is_read() -> None:
    assert plan("text/plain") == Reading(declared="text", max_bytes=100, max_lines=50)
    assert plan("text/plain", "UTF-16") == Reading(
        declared="text", charset="utf-16", max_bytes=100, max_lines=50
    )
    assert plan("application/jsonl", encoding="gzip", field="body") == Reading(
        declared="jsonl", encoded=True, field="body", max_bytes=100, max_lines=50
    )
    assert plan("application/gzip", format="text", sample_by="document") == Reading(
        declared="text", packing="gzip", sample_by="document", max_bytes=100, max_lines=50
    )
    assert plan("application/octet-stream", filename="a.csv.zst", on_bad_line="skip") == Reading(
        filename="a.csv.zst", skips_bad_lines=True, max_bytes=100, max_lines=50
    )
    assert plan("text/csv", format="csv").declared == "csv"
    assert plan("text/csv", language_field="lang").language_field == "lang"


@pytest.mark.parametrize(
    "arguments",
    [
        ("text/html",),
        ("text/plain", "latin-1"),
        ("text/plain", None, "br"),
        ("application/zip",),
        ("",),
    ],
)
def test_other_media_are_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(UnsupportedMedia):
        plan(*arguments)


def test_a_format_that_the_content_type_contradicts_is_refused_with_both() -> None:
    with pytest.raises(InvalidRequest, match=r"text/plain is plain text, and format=jsonl"):
        plan("text/plain", format="jsonl")
