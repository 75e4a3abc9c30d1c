"""Pages of other origins: those that may show a neuron in a frame, and those whose scripts may ask
(CORS).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from flask import Request, Response

_ORIGIN = re.compile(r"https?://([a-z0-9-]+\.)*[a-z0-9-]+(:[0-9]{1,5})?")

# What scripts may ask for, send and read, beside what every page's may.
_PATHS: Final = ("/v1/", "/openapi.json", "/livez", "/readyz")
_METHODS: Final = "GET, POST, DELETE"
_SENT: Final = (
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, "
    "X-Request-Id, traceparent"
)
_EXPOSED: Final = (
    "Deprecation, ETag, Idempotency-Replayed, Link, Location, Preference-Applied, RateLimit, "
    "RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-Id"
)
_REMEMBERED_S: Final = 600


def parse_origins(setting: str, text: str) -> tuple[str, ...]:
    """Of `https://a.example,http://127.0.0.1:80`. setting: its name.

    Raises ValueError naming what is no origin; there is no wildcard.
    """
    origins = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{setting}: {origin!r} is no origin such as https://example.org")
    return origins


@dataclass(frozen=True)
class Cors:
    """Which pages' scripts may ask. They send a key themselves: there are no cookies."""

    origins: tuple[str, ...] = ()

    def answer_preflight(self, request: Request) -> Response | None:
        """What a browser is told before it sends a request; None where this is no such question,
        or from a page that may not ask.
        """
        is_question = "Access-Control-Request-Method" in request.headers
        if request.method != "OPTIONS" or not is_question or not self._may_ask(request):
            return None
        return Response(
            status=204,
            headers={
                "Access-Control-Allow-Methods": _METHODS,
                "Access-Control-Allow-Headers": _SENT,
                "Access-Control-Max-Age": str(_REMEMBERED_S),
            },
        )

    def add_headers(self, request: Request, response: Response) -> None:
        """Lets a page that may ask read an answer, a refusal too."""
        if not self.origins or not _is_shared(request):
            return
        response.vary.add("Origin")
        if self._may_ask(request):
            response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED

    def _may_ask(self, request: Request) -> bool:
        return _is_shared(request) and request.headers.get("Origin", "") in self.origins


def _is_shared(request: Request) -> bool:
    return request.path.startswith(_PATHS)
