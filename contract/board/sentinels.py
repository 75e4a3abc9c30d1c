"""A Redis that Sentinels watch: where they are, and which of the Redis that they know is meant.

    sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…][/DATABASE]?master=NAME
        [&sentinel_user=USER][&sentinel_password=PASSWORD]

User and password are those of the Redis; the Sentinels may have others. Opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

SCHEME = "sentinel"
_PORT = 26379
_OPTIONS = {"master", "sentinel_user", "sentinel_password"}


@dataclass(frozen=True)
class Sentinels:
    hosts: tuple[tuple[str, int], ...]
    master: str  # what they call the Redis
    database: int = 0
    user: str | None = None
    password: str | None = None
    own_user: str | None = None  # the Sentinels'
    own_password: str | None = None

    @classmethod
    def parse(cls, url: str) -> Sentinels:
        """Raises ValueError for what is no such URL."""
        parts = urlsplit(url)
        credentials, _, hosts = parts.netloc.rpartition("@")
        user, _, password = credentials.partition(":")
        options = dict(parse_qsl(parts.query))
        if parts.scheme != SCHEME or not hosts or not options.get("master"):
            raise ValueError(
                "a Redis behind Sentinels is written sentinel://HOST:PORT,HOST:PORT/0?master=NAME"
            )
        if unknown := sorted(options.keys() - _OPTIONS):
            raise ValueError(f"sentinel://… knows no {', '.join(unknown)}")
        return cls(
            hosts=tuple(_read_host(host) for host in hosts.split(",")),
            master=options["master"],
            database=int(parts.path.strip("/") or 0),
            user=unquote(user) or None,
            password=unquote(password) or None,
            own_user=options.get("sentinel_user"),
            own_password=options.get("sentinel_password"),
        )

    @property
    def credentials(self) -> dict[str, Any]:
        """For the connection to a Sentinel."""
        return {"username": self.own_user, "password": self.own_password}

    @property
    def broker_url(self) -> str:
        """As Celery writes it."""
        login = ""
        if self.password is not None:
            login = f"{quote(self.user or '', safe='')}:{quote(self.password, safe='')}@"
        hosts = [f"{SCHEME}://{login}{host}:{port}" for host, port in self.hosts]
        return ";".join(f"{host}/{self.database}" for host in hosts)


def _read_host(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(f"{text!r} is no HOST:PORT")
    return parts.hostname, parts.port or _PORT
