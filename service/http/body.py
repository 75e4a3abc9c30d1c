"""A body: not long, and of JSON strictly that, of the right media type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Request, g

from polyseme.contract.errors import MalformedRequest, TooLarge, UnsupportedMedia
from polyseme.contract.strict_json import parse_json
from polyseme.service.http.large_bodies import LargeBody


def read_json(request: Request, limit: int) -> Any:
    """Raises UnsupportedMedia, TooLarge beyond `limit` bytes, MalformedRequest, Unavailable."""
    if request.mimetype != "application/json":
        raise UnsupportedMedia(f"Content-Type {request.content_type!r}: send application/json")
    if request.mimetype_params.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise UnsupportedMedia("JSON is UTF-8")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMedia("Content-Encoding of a JSON body: none is taken")
    if (request.content_length or 0) > limit:
        raise TooLarge(
            f"the body has {request.content_length} bytes, at most {limit} are taken; upload a "
            f"corpus instead"
        )
    return parse_json(read_bytes(request, limit))


def read_bytes(request: Request, limit: int) -> bytes:
    """What is sent, once it may be parsed. Raises TooLarge, Unavailable, MalformedRequest."""
    large: LargeBody = g.large_body
    large.expect(request.content_length)
    read, pieces, left = reader_of(request), [], limit + 1
    while left and (piece := read(left)):
        pieces.append(piece)
        left -= len(piece)
    body = b"".join(pieces)
    if not left:
        raise TooLarge(f"the body has more than {limit} bytes; upload a corpus instead")
    large.look_at(body)
    return body


def reader_of(request: Request) -> Callable[[int], bytes]:
    """Reads at most so many bytes of a body, none at its end.

    It raises MalformedRequest where that comes before as many as the request said, as when a client
    dies: servers end the body there, and half a text would be taken for the whole.
    """
    length, came = request.content_length, 0

    def read(size: int) -> bytes:
        nonlocal came
        piece = request.stream.read(size)
        came += len(piece)
        if not piece and size and length is not None and came < length:
            raise MalformedRequest(f"the body ends early: {came} bytes of {length}")
        return piece

    return read
