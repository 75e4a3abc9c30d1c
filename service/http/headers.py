"""Request headers with rules of their own: what is accepted, and what it means."""

from __future__ import annotations

import re

from werkzeug.datastructures import Headers

from polyseme.contract import __version__
from polyseme.contract.errors import MalformedRequest

LONGEST_WAIT_S = 30
KEY_PATTERN = r"^[!-~]{1,255}$"  # visible ASCII

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_KEY = re.compile(r"[!-~]{1,255}")


def read_request_id(headers: Headers) -> str | None:
    """The client's X-Request-Id when it is safe to repeat in logs and headers."""
    text = headers.get("X-Request-Id", "")
    return text if _REQUEST_ID.fullmatch(text) else None


def read_idempotency_key(headers: Headers) -> str | None:
    key = headers.get("Idempotency-Key")
    if key is None or _KEY.fullmatch(key):
        return key
    raise MalformedRequest("Idempotency-Key: 1 to 255 visible ASCII characters, without spaces")


def read_wait(headers: Headers) -> int:
    """Seconds of `Prefer: wait=N` (RFC 7240), 0 without it.

    Other preferences are ignored, as the RFC has it.
    """
    for preference in headers.get("Prefer", "").split(","):
        name, _, value = preference.partition(";")[0].strip().partition("=")
        if name.strip().lower() != "wait":
            continue
        text = value.strip().strip('"')
        if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) > LONGEST_WAIT_S:
            raise MalformedRequest(
                f"Prefer: wait={text[:20]}: a whole number of seconds, 0 to {LONGEST_WAIT_S}"
            )
        return int(text)
    return 0


def result_tag(job: str, more: str = "") -> str:
    """The tag of what is read of a job's result: that does not change, but how it is written may
    with the version.
    """
    return f'W/"{__version__}-{job}{more and f"-{more}"}"'


def matches_tag(headers: Headers, tag: str) -> bool:
    """Whether If-None-Match names the tag, compared weakly (RFC 9110)."""
    text = headers.get("If-None-Match")
    if text is None:
        return False
    given = {part.strip().removeprefix("W/") for part in text.split(",")}
    return "*" in given or tag.removeprefix("W/") in given
