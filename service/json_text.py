"""JSON as this service writes it: strict, in UTF-8, with times as RFC 3339 has them.

Knows nothing of HTTP.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson


def dump_json(payload: Any) -> bytes:
    """A number that JSON has no word for becomes null."""
    return orjson.dumps(payload)


def put_in(written: bytes) -> orjson.Fragment:
    """JSON of `dump_json`, to go into other JSON as it is."""
    return orjson.Fragment(written)


def timestamp(seconds: float | None) -> str | None:
    """RFC 3339 in UTC, to the millisecond."""
    if seconds is None:
        return None
    return (
        datetime.fromtimestamp(seconds, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )
