"""flask-smorest, taught this API's manners: strict JSON, strict queries, problem answers in the
documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from http import HTTPStatus
from typing import Any

import flask_smorest
from flask import Request, current_app, request
from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser

from polyseme.contract.errors import Detail, InvalidRequest
from polyseme.service.http.body import read_json
from polyseme.service.http.problem_schema import ProblemSchema
from polyseme.service.http.problems import MEDIA_TYPE, escape_pointer, invalid_values

View = Callable[..., Any]

JSON_BYTES = "JSON_BYTES"  # in a Flask application's config: the most that a JSON body may have


class Parser(FlaskParser):
    def __init__(self) -> None:
        # None leaves it to the schema, and a StrictSchema refuses.
        super().__init__(unknown=None)

    def _raw_load_json(self, req: Request) -> Any:
        return read_json(req, current_app.config[JSON_BYTES])

    def load_querystring(self, req: Request, schema: Schema) -> Any:
        check_repeats(req)
        return req.args.to_dict()

    def handle_error(self, error: ValidationError, req: Request, schema: Schema, **_: Any) -> Any:
        """webargs wraps the messages in the location: {"json": {...}}."""
        messages = error.normalized_messages()
        inner = next(iter(messages.values())) if isinstance(messages, Mapping) else messages
        raise invalid_values(inner) from error


class Blueprint(flask_smorest.Blueprint):
    ARGUMENTS_PARSER = Parser()

    def arguments(self, schema: type[Schema], **options: Any) -> Callable[[View], View]:
        """The schema is made once: webargs would make one for each request, which takes longer than
        to load with it.
        """
        decorate: Callable[[View], View] = super().arguments(schema(), **options)
        return decorate


def check_repeats(req: Request) -> None:
    if repeated := sorted(name for name, values in req.args.lists() if len(values) > 1):
        details = tuple(Detail(f"/{escape_pointer(n)}", "given more than once") for n in repeated)
        raise InvalidRequest(
            f"query parameter {repeated[0][:80]!r} is given more than once", details=details
        )


def refuse_query() -> None:
    """Before a request: a route without query parameters takes none."""
    if not request.query_string or request.endpoint is None:
        return
    view = current_app.view_functions.get(request.endpoint)
    if view is None or _has_query(view) or getattr(view, "_any_query", False):
        return
    details = tuple(
        Detail(f"/{escape_pointer(n)}", "unknown parameter: this path takes none")
        for n in request.args
    )
    raise InvalidRequest("this path takes no query parameters", details=details)


def takes_any_query(view: View) -> View:
    """Marks a view whose page reads its query itself."""
    view._any_query = True  # type: ignore[attr-defined]
    return view


def problems(statuses: Mapping[int, str]) -> Callable[[View], View]:
    """Documents a route's problem answers, by status, with when each is given."""

    def decorate(view: View) -> View:
        for status, when in statuses.items():
            headers = {"Retry-After": RETRY_AFTER} if status in (429, 503) else None
            view = Blueprint("_", __name__).alt_response(
                status,
                schema=ProblemSchema,
                content_type=MEDIA_TYPE,
                description=f"{HTTPStatus(status).phrase}: {when}",
                headers=headers,
            )(view)
        return view

    return decorate


RETRY_AFTER = {
    "description": "Seconds to wait before asking again.",
    "schema": {"type": "integer", "minimum": 0},
}
ETAG = {"description": "Changes with every revision of the job.", "schema": {"type": "string"}}
LINK = {
    "description": 'The next page: `<…>; rel="next"`. Absent on the last.',
    "schema": {"type": "string"},
}
DEPRECATION = {
    "description": "Since when an option that the request has is deprecated: `@` and seconds since "
    "1970 (RFC 9745). Absent without such.",
    "schema": {"type": "string"},
}
LOCATION = {"description": "Where the new resource is.", "schema": {"type": "string"}}


def takes(*headers: Mapping[str, Any]) -> Callable[[View], View]:
    """Documents the request headers a route reads.

    `Blueprint.doc` would put them in the place of its query.
    """

    def decorate(view: View) -> View:
        documented: dict[str, Any] = deepcopy(getattr(view, "_apidoc", {}))
        documented.setdefault("arguments", {}).setdefault("parameters", []).extend(headers)
        view._apidoc = documented  # type: ignore[attr-defined]
        return view

    return decorate


def header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    """An optional request header, for `takes`."""
    return {
        "in": "header",
        "name": name,
        "description": description,
        "schema": {"type": "string"} | schema,
    }


def _has_query(view: View) -> bool:
    documented = getattr(view, "_apidoc", {}).get("arguments", {}).get("parameters", [])
    return any(isinstance(p, dict) and p.get("in") in ("query", "querystring") for p in documented)
