"""JSON answers. Plain dicts go out as they are: no schema dumps a million numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Response, request

_NO_HEADERS: Mapping[str, str] = {}


def answer_json(payload: Any, status: int = 200, headers: Mapping[str, str] = _NO_HEADERS) -> Response:
    return Response(dump_json(payload), status, headers=dict(headers), content_type="application/json")


def answer_page(data: Sequence[Any] | orjson.Fragment, cursor: str | None, **more: Any) -> Response:
    """A page of a list, and where the next one is; no cursor: it was the last. more: further members."""
    payload = {"object": "list", "data": data, **more, "next_cursor": cursor}
    return answer_json(payload, headers={"Link": _next_link(cursor)} if cursor else _NO_HEADERS)


def put_in(written: bytes) -> orjson.Fragment:
    """JSON of `dump_json`, to go into an answer as it is."""
    return orjson.Fragment(written)


def dump_json(payload: Any) -> bytes:
    """Strict JSON in UTF-8: a number that JSON has no word for becomes null."""
    return orjson.dumps(payload)


def timestamp(seconds: float | None) -> str | None:
    """RFC 3339 in UTC, to the millisecond."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _next_link(cursor: str) -> str:
    """The `Link` header to the next page: this request's address with the cursor in it."""
    query = request.args.to_dict() | {"cursor": cursor}
    return f'<{request.path}?{urlencode(query)}>; rel="next"'
