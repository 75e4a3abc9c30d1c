"""Which URLs and addresses a webhook may have.

Here nothing is resolved and nothing is connected.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from polyseme.service.outbound.addresses import (
    AddressRefused,
    Allowed,
    Target,
    check_target,
    is_public,
    parse_url,
    resolve_host,
)

NOBODY = Allowed()
PUBLIC = "93.184.215.14"


def answers(*addresses: str) -> object:
    def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.org", Target("https", "example.org", 443, "/")),
        ("https://Example.ORG:8443/a/b?c=d&e", Target("https", "example.org", 8443, "/a/b?c=d&e")),
        ("https://xn--bcher-kva.example/?x", Target("https", "xn--bcher-kva.example", 443, "/?x")),
        ("https://93.184.215.14/x", Target("https", PUBLIC, 443, "/x")),
        ("https://[2606:2800:21f::1]:444/", Target("https", "2606:2800:21f::1", 444, "/")),
        ("http://receiver:8080/x", Target("http", "receiver", 8080, "/x")),
    ],
)
def test_a_plain_url_is_taken_apart(url: str, target: Target) -> None:
    assert parse_url(url) == target


def test_the_authority_is_written_as_http_has_it() -> None:
    assert parse_url("https://example.org:443/").authority == "example.org"
    assert parse_url("https://[2606:2800:21f::1]:444/").authority == "[2606:2800:21f::1]:444"


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:4700:4700::1111", "64:ff9b::8.8.8.8"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(ip_address(address))


def test_every_address_of_a_name_must_be_allowed() -> None:
    target = parse_url("https://example.org/")

    assert check_target(target, NOBODY, answers(PUBLIC, "8.8.8.8")) == [
        ip_address(PUBLIC),
        ip_address("8.8.8.8"),
    ]
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.1 is not a public address"):
        check_target(target, NOBODY, answers(PUBLIC, "10.0.0.1"))


def test_http_is_for_what_an_admin_allows() -> None:
    allowed = Allowed.parse("receiver, 10.1.0.0/16, 127.0.0.1")
    inside = answers("10.1.2.3")

    assert check_target(parse_url("http://receiver/"), allowed, answers("192.168.7.7"))
    assert check_target(parse_url("http://other.example/"), allowed, inside)
    assert check_target(parse_url("http://127.0.0.1:9000/"), allowed, resolve_host)
    with pytest.raises(AddressRefused, match="use https"):
        check_target(parse_url("http://example.org/"), allowed, answers(PUBLIC))
    with pytest.raises(AddressRefused, match="not a public address"):
        check_target(parse_url("https://127.0.0.2/"), allowed, resolve_host)


@pytest.mark.parametrize(
    "text", ["10.0.0.0/33", "https://example.org", "10.1.2.3/16", "2130706433", "a b"]
)
def test_what_is_no_host_and_no_network_cannot_be_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="webhook_allow"):
        Allowed.parse(text)


def test_a_name_without_an_address_is_an_error_of_the_network() -> None:
    with pytest.raises(OSError, match="no address"):
        check_target(parse_url("https://example.org/"), NOBODY, answers())
