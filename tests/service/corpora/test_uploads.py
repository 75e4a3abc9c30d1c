from __future__ import annotations

import gzip
import io
import tracemalloc
from typing import Any

import pytest

from polyseme.contract.errors import (
    InvalidCorpus,
    MalformedRequest,
    PolysemeError,
    TooLarge,
    UnsupportedMedia,
)
from polyseme.service.corpora.uploads import LONGEST_DOCUMENT, Upload, plan_upload, read_upload


def read(body: bytes, **options: Any) -> list[str]:
    upload = Upload(**{"kind": "text", "gzipped": False} | options)
    return list(read_upload(io.BytesIO(body), upload))


def test_text_is_split_by_line() -> None:
    assert read("one\r\ntwö\n\nthree".encode()) == ["one", "twö", "", "three"]


def test_text_is_split_by_paragraph_or_not_at_all() -> None:
    body = b"a\nb\n\n \nc\n"

    assert [p for p in read(body, sample_by="paragraph") if p] == ["a\nb", "c"]
    assert read(body, sample_by="document") == ["a\nb\n\n \nc"]


def test_lines_longer_than_a_chunk_stay_whole() -> None:
    lines = ["x" * 200_000, "y" * 70_000]

    assert read("\n".join(lines).encode()) == lines


def test_a_byte_order_mark_is_no_text() -> None:
    assert read(b"\xef\xbb\xbfa\nb") == ["a", "b"]
    assert read(b'\xef\xbb\xbf"a"', kind="jsonl") == ["a"]


def test_json_lines_are_objects_or_strings() -> None:
    assert read(b'{"text": "a"}\n\n"b"\n', kind="jsonl") == ["a", "b"]
    assert read(b'{"body": "a", "text": 1}', kind="jsonl", field="body") == ["a"]


def test_gzip_of_several_members_is_one_text() -> None:
    body = gzip.compress(b"one\ntw") + gzip.compress(b"o\n")

    assert read(body, gzipped=True) == ["one", "two"]


@pytest.mark.parametrize(
    ("body", "options", "error", "pointer"),
    [
        (b"ok\nbad \xff", {}, InvalidCorpus, "/1"),
        (b'"ok"\n{bad}', {"kind": "jsonl"}, InvalidCorpus, "/1"),
        (b'"ok"\n7', {"kind": "jsonl"}, InvalidCorpus, "/1"),
        (b'{"txt": "a"}', {"kind": "jsonl"}, InvalidCorpus, "/0"),
        (b'{"text": null}', {"kind": "jsonl"}, InvalidCorpus, "/0"),
        (b'{"text": "a", "text": "b"}', {"kind": "jsonl"}, InvalidCorpus, "/0"),
        (b"no gzip", {"gzipped": True}, MalformedRequest, None),
        (gzip.compress(b"hello world", mtime=0)[:-6], {"gzipped": True}, MalformedRequest, None),
        (b"x" * 101, {"max_bytes": 100}, TooLarge, None),
        (b"x" * (LONGEST_DOCUMENT + 1), {}, TooLarge, None),
        (b"x\n" * (LONGEST_DOCUMENT // 2 + 1), {"sample_by": "document"}, TooLarge, None),
    ],
)
def test_bytes_that_go_wrong_say_where(
    body: bytes, options: dict[str, Any], error: type[PolysemeError], pointer: str | None
) -> None:
    with pytest.raises(error) as caught:
        read(body, **options)

    assert [d.pointer for d in caught.value.details] == ([] if pointer is None else [pointer])


def test_invalid_utf_8_names_its_line_and_byte() -> None:
    with pytest.raises(InvalidCorpus, match="line 2 is no UTF-8: its byte 4 is 0xff"):
        read(b"ok\nbad \xff")


def test_a_gzip_bomb_stops_early_and_stays_small() -> None:
    bomb = gzip.compress(b"word word word\n" * (4 << 20))  # 60 MiB unpacked
    tracemalloc.start()

    with pytest.raises(TooLarge):
        for _ in read_upload(io.BytesIO(bomb), Upload("text", gzipped=True, max_bytes=4 << 20)):
            pass

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


def test_a_long_upload_is_never_whole_in_memory() -> None:
    class Endless(io.RawIOBase):
        left = 8 << 20

        def read(self, size: int = -1) -> bytes:
            self.left -= size
            return b"word word word\n" * (size // 15) if self.left > 0 else b""

    tracemalloc.start()
    count = sum(1 for _ in read_upload(Endless(), Upload("text", gzipped=False)))  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count > 500_000
    assert peak < 4 << 20


def plan(
    mimetype: str, charset: str | None = None, encoding: str | None = None, **query: str
) -> Upload:
    return plan_upload(mimetype, charset, encoding, query, 100)


def test_headers_and_query_say_how_a_body_is_read() -> None:
    assert plan("text/plain") == Upload("text", False, "line", "text", 100)
    assert plan("application/jsonl", encoding="gzip", field="body") == Upload(
        "jsonl", True, "line", "body", 100
    )
    assert plan("application/gzip", format="text", sample_by="document") == Upload(
        "text", True, "document", "text", 100
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("text/html",),
        ("text/plain", "latin-1"),
        ("text/plain", None, "br"),
        ("application/gzip",),
        ("",),
    ],
)
def test_other_media_are_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(UnsupportedMedia):
        plan(*arguments)
