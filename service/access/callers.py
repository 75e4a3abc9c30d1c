"""Who a request comes from and what its key may do, decided before any route runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from flask import Request, Response, current_app, g, request
from redis import RedisError

from polyseme.contract.board.exposure import is_loopback
from polyseme.contract.errors import MissingScope, NotLocal, TooManyRequests, Unauthenticated
from polyseme.contract.logs import add_log_ids
from polyseme.contract.names import DEFAULT_TENANT
from polyseme.contract.records.tenants import Scope, allowed_by
from polyseme.service.context import Services, serve, services
from polyseme.service.http.request_meter import Rate

View = Callable[..., Any]

_OPEN = "open"
_REMEMBERED = 128  # addresses and URLs of which is known whether they are this machine's
_READING = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Caller:
    tenant: str
    key: str | None  # its id; None while there are no keys
    scopes: frozenset[Scope]


def open_to_all(view: View) -> View:
    """Marks a view that takes no key. OpenAPI says so too."""
    return _mark(view, _OPEN, [])


def needs_admin(view: View) -> View:
    return _mark(view, "admin", None)


def _mark(view: View, access: str, security: list[Any] | None) -> View:
    view._access = access  # type: ignore[attr-defined]
    if security is not None:
        documented: dict[str, Any] = dict(getattr(view, "_apidoc", {}))
        documented["manual_doc"] = documented.get("manual_doc", {}) | {"security": security}
        view._apidoc = documented  # type: ignore[attr-defined]
    return view


def needed_scope(view: View, method: str) -> Scope | None:
    """What a key must have for a view:

    `read` to read and `submit` for the rest, unless it is marked otherwise.
    """
    access = getattr(view, "_access", None)
    if access is None:
        return "read" if method in _READING else "submit"
    return "admin" if access == "admin" else None


def admit() -> None:
    """Before a request. Raises Unauthenticated, NotLocal, TooManyRequests or MissingScope."""
    view = current_app.view_functions.get(request.endpoint) if request.endpoint else None
    if view is None or (scope := needed_scope(view, request.method)) is None:
        return
    here = services()
    caller, limit = identify(here, request)
    has_quotas, is_admin = caller.key is not None, "admin" in caller.scopes
    serve(caller.tenant, has_quotas=has_quotas, is_admin=is_admin)
    add_log_ids(tenant=caller.tenant, key=caller.key)
    _take_request(here, caller, limit)
    if scope not in caller.scopes:
        has = ", ".join(sorted(caller.scopes))
        raise MissingScope(
            f"this needs a key with the scope {scope}; this key has {has}", scope=scope
        )


def is_served(here: Services, req: Request) -> bool:
    """Whether who comes as this request does may read.

    It is not counted, and while Redis is away nobody is served.
    """
    try:
        caller, _ = identify(here, req)
    except (Unauthenticated, NotLocal, RedisError):
        return False
    return "read" in caller.scopes


def identify(here: Services, req: Request) -> tuple[Caller, int]:
    """The caller, and the requests a minute of its tenant; 0 for no limit."""
    given = req.headers.get("Authorization")
    try:
        known = here.board.accounts.identify(read_bearer(given))
    except PermissionError as e:
        text = "no API key that is valid here came with this: send `Authorization: Bearer psk_…`"
        raise Unauthenticated(text, was_given=given is not None) from e
    if known is None:
        check_local(req, here.settings.keyless)
        return Caller(DEFAULT_TENANT, None, allowed_by(("admin",))), 0
    limit = (
        here.settings.tenant_requests_per_minute
        if known.requests_per_minute is None
        else known.requests_per_minute
    )
    return Caller(known.tenant, known.key, allowed_by(known.scopes)), limit


def read_bearer(header: str | None) -> str | None:
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def check_local(req: Request, keyless: str) -> None:
    """Without keys only this machine is served, and no page that a browser on it shows.

    Raises NotLocal.
    """
    if keyless == "any":
        return
    peer = req.environ.get("REMOTE_ADDR") or ""
    if peer and not _is_here(peer):
        raise NotLocal(
            "there is no API key yet, so only this machine is served: make one with `polyseme "
            "keys create`"
        )
    # A page's script reaches a local service by a name that leads here (DNS rebinding), or posts
    # without asking.
    for name, url in (
        ("Host", f"//{req.headers.get('Host', '')}"),
        ("Origin", req.headers.get("Origin", "")),
    ):
        if url.strip("/") and not _leads_here(url):
            raise NotLocal(
                f"there is no API key yet, so only this machine is served, and the {name} is "
                f"another's"
            )


def note_rate(response: Response) -> None:
    """After a request: how many more the tenant may send
    (draft-ietf-httpapi-ratelimit-headers-11).
    """
    rate: Rate | None = g.get("rate")
    if rate is not None:
        response.headers["RateLimit-Policy"] = f'"requests";q={rate.limit};w=60'
        response.headers["RateLimit"] = f'"requests";r={rate.left};t={rate.seconds}'


def _take_request(here: Services, caller: Caller, limit: int) -> None:
    if limit == 0:
        return
    g.rate = rate = here.meter.take(caller.tenant, limit)
    if not rate.granted:
        raise TooManyRequests(
            f"the tenant {caller.tenant} has sent {limit} requests in this minute, and that is "
            f"the most",
            retry_after_s=rate.seconds,
        )


@lru_cache(_REMEMBERED)
def _is_here(address: str) -> bool:
    return is_loopback(address)


@lru_cache(_REMEMBERED)
def _leads_here(url: str) -> bool:
    return is_loopback(_host_of(url))


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
