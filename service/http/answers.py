"""JSON answers. Plain dicts go out as they are: no schema dumps a million numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Response, request
from werkzeug.datastructures import Headers

from polyseme.service.http.headers import matches_tag
from polyseme.service.json_text import dump_json

_NO_HEADERS: Mapping[str, str] = {}


def answer_json(
    payload: Any, status: int = 200, headers: Mapping[str, str] = _NO_HEADERS
) -> Response:
    return Response(
        dump_json(payload), status, headers=dict(headers), content_type="application/json"
    )


def answer_tagged(tag: str, headers: Headers, answer: Callable[[], Response]) -> Response:
    """The answer with its tag, or 304 and nothing where the request has that already."""
    has_it = matches_tag(headers, tag)
    response = Response(status=304) if has_it else answer()
    response.headers.update({"ETag": tag, "Cache-Control": "no-cache"})
    return response


def answer_page(data: Sequence[Any] | orjson.Fragment, cursor: str | None, **more: Any) -> Response:
    """A page of a list, and where the next one is; no cursor: it was the last. more: further
    members.
    """
    payload = {"object": "list", "data": data, **more, "next_cursor": cursor}
    return answer_json(payload, headers={"Link": _next_link(cursor)} if cursor else _NO_HEADERS)


def _next_link(cursor: str) -> str:
    """The `Link` header to the next page: this request's address with the cursor in it."""
    query = request.args.to_dict() | {"cursor": cursor}
    return f'<{request.script_root}{request.path}?{urlencode(query)}>; rel="next"'
