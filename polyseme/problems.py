"""What the client raises: one class a kind of refusal, each with what the service said.

Knows nothing of HTTP calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """Root of what the client raises."""


class Unreachable(ClientError):
    """No answer came: nobody listens there, or the connection broke."""


class Unreadable(ClientError):
    """A file that was to be uploaded is not what it should be."""


class StillRunning(ClientError):
    """The job had not ended when the time given for it was over. It goes on."""


class Problem(ClientError):
    """An answer of status 4xx or 5xx, with what its `application/problem+json` said."""

    def __init__(self, status: int, body: Mapping[str, Any], retry_after_s: float | None) -> None:
        self.status = status
        self.code = str(body.get("code", "http_error"))  # stable, for programs
        self.detail = str(body.get("detail") or body.get("title") or f"status {status}")
        self.errors: list[dict[str, Any]] = list(body.get("errors", []))  # {"pointer", "detail"}
        self.request_id: str | None = body.get("request_id")
        self.retry_after_s = retry_after_s
        super().__init__(f"{self.detail} (status {status}, {self.code})")

    @property
    def pointers(self) -> list[str]:
        """Where in the request something is wrong, as JSON pointers;

        "/name" for a query parameter.
        """
        return [str(error["pointer"]) for error in self.errors if "pointer" in error]

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str], body: bytes) -> Problem:
        """The class for the status.

        An answer that is no problem document, such as a proxy's page, has no code.
        """
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        kind = _KINDS.get(status) or (Failed if status >= 500 else Problem)
        return kind(status, document if isinstance(document, dict) else {}, retry_after_s(headers))


class Malformed(Problem):
    """400: the request is no request."""


class Unauthenticated(Problem):
    """401: no API key, or none that holds."""


class NotAllowed(Problem):
    """403: the key has not the scope, or a keyless service is asked from elsewhere."""


class NotFound(Problem):
    """404: there is no such thing, or it is another tenant's."""


class Conflict(Problem):
    """409: not now, or not while something else is as it is."""


class Gone(Problem):
    """410: it was there, and is deleted or expired."""


class TooLarge(Problem):
    """413."""


class Invalid(Problem):
    """422: well-formed, but a value is not allowed; `pointers` says which."""


class Busy(Problem):
    """429 or 503: too much at the moment. `retry_after_s` says when to try again."""


class Failed(Problem):
    """Another 5xx: something went wrong in the service, whose log has the `request_id`."""


_KINDS: dict[int, type[Problem]] = {
    400: Malformed,
    401: Unauthenticated,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    422: Invalid,
    429: Busy,
    503: Busy,
}


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as the service says; None when it does not, or says a date."""
    try:
        return max(float(headers.get("Retry-After", "")), 0.0)
    except ValueError:
        return None
