"""Every failure as RFC 9457 `application/problem+json`.

The one table of statuses is here; library errors end here.
"""

from __future__ import annotations

import errno
import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import redis
from flask import Flask, Response, g, request
from gunicorn.http.errors import NoMoreData, ParseException
from kombu.exceptions import OperationalError
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from polyseme.contract import errors
from polyseme.contract.paths import hide_paths

STATUS: Final[Mapping[type[errors.PolysemeError], int]] = {
    errors.MalformedRequest: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.TooSlow: 408,
    errors.Conflict: 409,
    errors.ExpiredCursor: 410,
    errors.Gone: 410,
    errors.TooLarge: 413,
    errors.DamagedRecord: 500,
    errors.UnsupportedMedia: 415,
    errors.InvalidRequest: 422,
    errors.TooManyJobs: 429,
    errors.QuotaExceeded: 429,
    errors.Unavailable: 503,
    errors.PolysemeError: 500,
}

MEDIA_TYPE: Final = "application/problem+json"

_log = logging.getLogger("polyseme.service")


@dataclass(frozen=True)
class Problem:
    status: int
    code: str  # stable, for programs
    detail: str  # a sentence, for people
    errors: Sequence[errors.Detail] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self, request_id: str) -> dict[str, Any]:
        return {
            "type": f"urn:polyseme:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
            "errors": [{"pointer": e.pointer, "detail": e.detail} for e in self.errors],
        }


def describe_error(error: Exception) -> Problem:
    """The problem that an exception is to a client.

    Any that is not known here is a 500 that tells nothing.
    """
    if isinstance(error, errors.PolysemeError):
        return _from_polyseme(error)
    if isinstance(error, ValidationError):
        return _from_polyseme(invalid_values(error.normalized_messages()))
    if isinstance(error, redis.RedisError | OperationalError):
        return Problem(
            503,
            "unavailable",
            "the job board cannot be reached; try again",
            headers={"Retry-After": "5"},
        )
    if isinstance(error, HTTPException):
        return _from_werkzeug(error)
    if isinstance(error, ParseException | NoMoreData):
        return Problem(
            400, "malformed_request", "the body ends early, or is not in chunks as it says"
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Problem(507, "store_full", "no room is left for what was sent; nothing was kept")
    if is_of_the_store(error):
        return Problem(
            503,
            "unavailable",
            "the store cannot be used now; try again",
            headers={"Retry-After": "5"},
        )
    return Problem(
        500, "internal_error", "something failed inside the service; its log has the request id"
    )


def is_of_the_store(error: Exception) -> bool:
    """Whether a disk or a network says that it does not work.

    A file that is not there is another matter; so is one that is damaged, whose error has no
    number.
    """
    return isinstance(error, OSError) and bool(error.errno) and error.errno != errno.ENOENT


def invalid_values(messages: Any) -> errors.InvalidRequest:
    """marshmallow's tree of messages as one error with a JSON pointer for each leaf."""
    details = tuple(_leaves("", messages))
    text = "; ".join(f"{d.pointer or 'the whole'}: {d.detail}" for d in details[:3])
    more = f"; and {len(details) - 3} more" if len(details) > 3 else ""
    return errors.InvalidRequest(text + more, details=details)


def escape_pointer(key: object) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")


def register_problems(app: Flask) -> None:
    app.register_error_handler(Exception, answer_error)
    # flask-smorest has its own for this class, and the nearer class wins.
    app.register_error_handler(HTTPException, answer_error)


def answer_error(error: Exception) -> Response:
    problem = describe_error(error)
    if problem.status >= 500:
        # What is only to be tried again later has no trace: there may be very many of it.
        trace = None if isinstance(error, errors.Unavailable) else error
        _log.error("request %s: %s %s", request_id(), request.method, request.path, exc_info=trace)
    _leave_body()
    body = json.dumps(problem.to_dict(request_id()), ensure_ascii=False)
    return Response(body, problem.status, headers=dict(problem.headers), content_type=MEDIA_TYPE)


def request_id() -> str:
    own: str | None = g.get("request_id")
    if own is None:
        own = g.request_id = uuid.uuid4().hex
    return own


def status_of(error: type[errors.PolysemeError]) -> int:
    return next(STATUS[c] for c in error.__mro__ if c in STATUS)


def _from_polyseme(error: errors.PolysemeError) -> Problem:
    seconds = getattr(error, "retry_after_s", None)
    headers = {} if seconds is None else {"Retry-After": str(seconds)}
    if challenge := getattr(error, "challenge", None):
        headers["WWW-Authenticate"] = challenge
    status, message = status_of(type(error)), error.message
    # A client's own words may look like a path; what is wrong here is told without any.
    message = hide_paths(message) if status >= 500 else message
    return Problem(status, error.code, message, error.details, headers)


def _from_werkzeug(error: HTTPException) -> Problem:
    status = error.code or 500
    if status == 404:
        return Problem(404, "not_found", f"nothing is at {request.path[:200]}")
    headers = (
        {"Allow": ", ".join(sorted(error.valid_methods or ()))}
        if isinstance(error, MethodNotAllowed)
        else {}
    )
    code = HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_")
    return Problem(status, code, error.description or HTTPStatus(status).phrase, headers=headers)


def _leaves(pointer: str, messages: Any) -> Sequence[errors.Detail]:
    if isinstance(messages, Mapping):
        below = (
            _leaves(pointer if k == "_schema" else f"{pointer}/{escape_pointer(k)}", v)
            for k, v in messages.items()
        )
        return [d for leaves in below for d in leaves]
    if isinstance(messages, str):
        return [errors.Detail(pointer, messages)]
    return [d for m in messages for d in _leaves(pointer, m)]


def _leave_body() -> None:
    """Of a request that is refused half way. The server passes over what a client still sends, so
    that it sees the answer and not a reset, and no thread of it waits for that.
    """
    leave = getattr(request.environ.get("gunicorn.socket"), "leave_body", None)
    if leave is not None:
        leave()
