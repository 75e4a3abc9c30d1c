"""The path that a proxy serves this service below, such as `/polyseme`: who may name it, and what
counts as one.

A server hands over SCRIPT_NAME, which gunicorn takes from a proxy that it trusts; or a trusted
proxy that took the prefix off the path says so in X-Forwarded-Prefix. It is put before every link,
so a text that could lead to another host is no prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_LONGEST = 200
# Segments of what a URL holds as it is, and escapes; none of them empty, so no second slash.
_PREFIX = re.compile(r"(?:/(?:[A-Za-z0-9._~@:+=-]|%[0-9A-Fa-f]{2})+)+")
_DOTS = {".", ".."}


def read_prefix(text: str) -> str:
    """A prefix without a slash at its end; "" for none, and for a text that is no plain path."""
    prefix = text.removesuffix("/")
    is_plain = len(prefix) <= _LONGEST and _PREFIX.fullmatch(prefix) is not None
    return prefix if is_plain and _DOTS.isdisjoint(prefix.split("/")) else ""


def settle_script_name(headers: Sequence[tuple[str, str]], path: str) -> list[tuple[str, str]]:
    """A request's header fields, as gunicorn has them, with a SCRIPT_NAME that it can take off.

    One that the path does not begin with is what the proxy took off itself, so an
    X-Forwarded-Prefix; what is no prefix is dropped.
    """
    settled = []
    for name, value in headers:
        prefix = read_prefix(value) if name == "SCRIPT_NAME" else ""
        if name != "SCRIPT_NAME":
            settled.append((name, value))
        elif prefix and f"{path}/".startswith(f"{prefix}/"):
            settled.append((name, prefix))
        elif prefix:
            settled.append(("X-FORWARDED-PREFIX", prefix))
    return settled


class TrustedProxies:
    """The addresses that forwarded headers are believed from."""

    def __init__(self, text: str) -> None:
        """text: addresses and networks with commas between, or `*` for any.

        Raises ValueError naming what is neither.
        """
        names = [name.strip() for name in text.split(",") if name.strip()]
        self._any = "*" in names
        self._networks = [_read_network(name) for name in names if name != "*"]

    def has(self, address: str) -> bool:
        """address: of a connection; that of a unix socket is empty, and only a proxy has one."""
        if self._any or not address:
            return True
        try:
            found = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        found = getattr(found, "ipv4_mapped", None) or found
        return any(found in network for network in self._networks)


def _read_network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError as e:
        raise ValueError(f"trusted_proxies: {text!r} is no address, network or *") from e


class BelowPrefix:
    """A WSGI application whose SCRIPT_NAME is a prefix that may be trusted, or empty."""

    def __init__(self, app: WSGIApplication, proxies: TrustedProxies) -> None:
        self._app = app
        self._proxies = proxies
        self._behind_proxy = ProxyFix(self._serve, x_for=0, x_proto=0, x_prefix=1)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._proxies.has(environ.get("REMOTE_ADDR") or ""):
            return self._behind_proxy(environ, start_response)
        return self._serve(environ, start_response)

    def _serve(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["SCRIPT_NAME"] = read_prefix(environ.get("SCRIPT_NAME", ""))
        # A server that was given "/polyseme/" took the path's first slash off too.
        path = environ.get("PATH_INFO", "")
        environ["PATH_INFO"] = path if path.startswith("/") else f"/{path}"
        return self._app(environ, start_response)
