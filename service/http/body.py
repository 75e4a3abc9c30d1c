"""A body: not long, and of JSON strictly that, of the right media type."""

from __future__ import annotations

from typing import Any

from flask import Request, g

from polyseme.contract.errors import TooLarge, UnsupportedMedia
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
    """What is sent, once it may be parsed. Raises TooLarge, Unavailable."""
    large: LargeBody = g.large_body
    large.expect(request.content_length)
    body = request.stream.read(limit + 1)
    if len(body) > limit:
        raise TooLarge(f"the body has more than {limit} bytes; upload a corpus instead")
    large.look_at(body)
    return body
