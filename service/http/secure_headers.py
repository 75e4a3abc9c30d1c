"""What every answer tells a browser: run nothing, frame nothing, guess nothing, tell nobody where
you were.
"""

from __future__ import annotations

from typing import Final

from werkzeug.datastructures import Headers

DATA_POLICY: Final = (
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' "
    "data:; font-src 'self'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
# Of the dashboard: as strict as that of the docs, and no style but its own sheet's.
APP_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src "
    "'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for "
    "'script'"
)
EMBED_POLICY: Final = APP_POLICY.replace("frame-ancestors 'none'", "frame-ancestors {origins}")
_UNLESS_SET: Final = {
    "Content-Security-Policy": DATA_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_A_YEAR_S: Final = 365 * 24 * 3600


def add_secure_headers(headers: Headers, *, over_tls: bool) -> None:
    """over_tls: as gunicorn has it from X-Forwarded-Proto, which it believes a proxy that it
    trusts.
    """
    there = {name.lower() for name, _ in headers}
    for name, value in _UNLESS_SET.items():
        if name.lower() not in there:
            headers.add(name, value)
    if over_tls:
        headers["Strict-Transport-Security"] = f"max-age={_A_YEAR_S}"
