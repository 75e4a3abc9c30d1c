"""Where a webhook may go: public hosts over https, and what an admin allows besides.

Pure, but for `resolve_host`.

A name is judged by every address it resolves to, and whoever connects must connect to an address
judged here: a second look-up could answer otherwise.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Sequence[str]]  # host, port; raises OSError

LONGEST_URL = 2048
_PORTS = {"https": 443, "http": 80}
_PLAIN = re.compile(r"[!-~]+")  # visible ASCII
_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)
# A name whose last label looks so is a number to some resolvers: 2130706433, 0x7f.1, 0177.0.0.1.
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)")

# Not public, though `is_global` of some Python versions says so; or public in form, with another
# address inside.
_REFUSED: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT, and metadata services of some clouds
            "168.63.129.16/32",  # a cloud's host, seen from its machines
            "192.0.0.0/24",
            "192.88.99.0/24",  # 6to4 relays
            "198.18.0.0/15",
            "240.0.0.0/4",
            "2001::/23",  # protocol assignments, Teredo among them
            "2001:db8::/32",
            "2002::/16",  # 6to4
            "3fff::/20",
        ),
    )
)
_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")  # what DNS64 answers for a host that has IPv4 only


class AddressRefused(ValueError):
    """A sentence that says why."""


@dataclass(frozen=True)
class Target:
    """A URL in its parts, with nothing left to be read in two ways."""

    scheme: str  # https or http
    host: str  # in lower case; an IPv6 address without brackets
    port: int
    path: str  # with the query; begins with "/"

    @property
    def literal(self) -> Address | None:
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True)
class Allowed:
    """What an admin allows: hosts by name, and networks. http is taken for these alone."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Allowed:
        """Names, addresses and networks with commas between.

        Raises ValueError naming what is none of them.
        """
        names, networks = set[str](), list[Network]()
        for part in filter(None, (p.strip().lower() for p in text.split(","))):
            if _is_name(part):
                names.add(part)
                continue
            try:
                networks.append(ip_network(part))
            except ValueError as e:
                raise ValueError(
                    f"webhook_allow: {part!r} is no host name, address or network ({e})"
                ) from e
        return cls(frozenset(names), tuple(networks))

    def has(self, target: Target, address: Address) -> bool:
        return target.host in self.names or any(address in network for network in self.networks)


def parse_url(text: str) -> Target:
    """Raises AddressRefused for anything but a plain http or https URL of a host name or an IP
    address.
    """
    if len(text) > LONGEST_URL:
        raise AddressRefused(f"the URL has {len(text)} characters, at most {LONGEST_URL} are taken")
    if not _PLAIN.fullmatch(text) or "\\" in text:
        raise AddressRefused(
            "a URL is visible ASCII without spaces and backslashes; write a host of others as xn--…"
        )
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as e:
        raise AddressRefused(f"no URL: {e}") from e
    if parts.scheme not in _PORTS:
        raise AddressRefused(f"scheme {parts.scheme[:20]!r}: use https")
    if "@" in parts.netloc:
        raise AddressRefused("a user name or password in the URL is not taken")
    if "#" in text:
        raise AddressRefused("a fragment in the URL is not taken")
    if port == 0 or parts.netloc.endswith(":"):
        raise AddressRefused("a port is 1 to 65535")
    target = Target(
        parts.scheme, host, port or _PORTS[parts.scheme], _path(parts.path, parts.query)
    )
    if target.literal is None and not _is_name(host):
        raise AddressRefused(
            f"host {host[:80]!r} is neither a host name nor an IP address in its usual spelling"
        )
    if "%" in host:
        raise AddressRefused("an address with a zone is not taken")
    return target


def check_target(target: Target, allowed: Allowed, resolve: Resolve) -> list[Address]:
    """The addresses to connect to.

    Raises AddressRefused when any is refused, OSError when the name has none.
    """
    addresses = (
        [target.literal]
        if target.literal
        else [_read_address(a) for a in resolve(target.host, target.port)]
    )
    if not addresses:
        raise OSError(f"{target.host} has no address")
    for address in addresses:
        if allowed.has(target, address):
            continue
        if not is_public(address):
            raise AddressRefused(f"host {target.host}: {address} is not a public address")
        if target.scheme == "http":
            raise AddressRefused(f"http to {target.host}: use https")
    return addresses


def is_public(address: Address) -> bool:
    """Whether it is one machine of the public internet, by the address' form alone."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _UNICAST:  # mapped and other embedded IPv4 too
            return False
    if any(address in network for network in _REFUSED):
        return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified
    )


def resolve_host(host: str, port: int) -> list[str]:
    """Every address that this machine's resolver knows. Raises OSError."""
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except UnicodeError as e:
        raise OSError(f"{host}: {e}") from e
    return list(dict.fromkeys(str(address[0]) for *_, address in answers))


def _read_address(text: str) -> Address:
    return ip_address(text.partition("%")[0])


def _path(path: str, query: str) -> str:
    return (path or "/") + (f"?{query}" if query else "")


def _is_name(host: str) -> bool:
    return bool(_NAME.fullmatch(host)) and not _NUMBER.fullmatch(host.rpartition(".")[2])
