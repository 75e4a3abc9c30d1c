"""Whether the API may listen where it is told to: elsewhere than on this machine only with keys.

The settings of gunicorn ask before it listens. Under another server each request is asked for where
it comes from (`polyseme.service.access.callers`).
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

import redis

from polyseme.contract.board.board import Board
from polyseme.contract.settings import Settings

KEYLESS = ("loopback", "any")


class Exposed(Exception):
    """Why the API does not start."""


def check_exposure(addresses: Iterable[Any], settings: Settings) -> None:
    """addresses: as gunicorn has them: (host, port, …), the path of a unix socket, or a number.

    Raises Exposed.
    """
    check_keyless(settings)
    reachable = [a for a in addresses if not _is_local(a)]
    if settings.keyless == "any" or not reachable:
        return
    try:
        has_keys = Board.connect(settings.redis_url).accounts.has_keys()
    except redis.RedisError as e:
        raise Exposed(
            f"whether there are API keys cannot be told: the job board does not answer ({e})"
        ) from e
    if not has_keys:
        raise Exposed(
            f"others could reach {_describe(reachable[0])}, and there is no API key: make one "
            f"with `polyseme keys "
            "create`, or listen on 127.0.0.1. Where something before the API authenticates, "
            "POLYSEME_KEYLESS=any."
        )


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def check_keyless(settings: Settings) -> None:
    if settings.keyless not in KEYLESS:
        raise Exposed(f"POLYSEME_KEYLESS={settings.keyless!r}: use {' or '.join(KEYLESS)}")


def _is_local(address: Any) -> bool:
    """An inherited socket, given by its number, may be anywhere."""
    return isinstance(address, str) or (isinstance(address, tuple) and is_loopback(str(address[0])))


def _describe(address: Any) -> str:
    return str(address[0]) if isinstance(address, tuple) else f"the inherited socket {address}"
