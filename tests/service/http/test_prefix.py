"""Which texts are a prefix, and whose word for one is taken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from polyseme.service.http.prefix import (
    BelowPrefix,
    TrustedProxies,
    read_prefix,
    settle_script_name,
)


@pytest.mark.parametrize(
    "text", ["/polyseme", "/a/b-c_d.e~f", "/user/ann@host/proxy/8000", "/%C3%A9t%C3%A9", "/v1.0"]
)
def test_a_plain_path_is_a_prefix_with_or_without_its_last_slash(text: str) -> None:
    assert read_prefix(text) == read_prefix(f"{text}/") == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "polyseme",
        "//evil.example",
        "/a//evil.example",
        "///",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/a\r\nX: 1",
        "/a\n",
        "/a\x00",
        "/a b",
        '/"><script>',
        "/a?b",
        "/a#b",
        "/..",
        "/a/../b",
        "/./a",
        "/%zz",
        "/" + "a" * 300,
    ],
)
def test_what_could_lead_elsewhere_is_no_prefix(text: str) -> None:
    assert read_prefix(text) == ""


@pytest.mark.parametrize(
    ("text", "address", "is_trusted"),
    [
        ("127.0.0.1,::1", "127.0.0.1", True),
        ("127.0.0.1,::1", "::ffff:127.0.0.1", True),
        ("127.0.0.1,::1", "10.0.0.7", False),
        ("10.0.0.0/8", "10.0.0.7", True),
        ("10.0.0.7/8", "11.0.0.7", False),
        ("*", "203.0.113.9", True),
        ("", "127.0.0.1", False),
        ("127.0.0.1", "", True),
        ("127.0.0.1", "no address", False),
    ],
)
def test_proxies_are_known_by_address_or_network(text: str, address: str, is_trusted: bool) -> None:
    assert TrustedProxies(text).has(address) is is_trusted


def test_a_proxy_that_is_no_address_is_named() -> None:
    with pytest.raises(ValueError, match=r"trusted_proxies: 'proxy\.example'"):
        TrustedProxies("127.0.0.1, proxy.example")


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({}, ("", "/v1")),
        ({"SCRIPT_NAME": "/a"}, ("/a", "/v1")),
        ({"SCRIPT_NAME": "/a/", "PATH_INFO": "v1"}, ("/a", "/v1")),
        ({"SCRIPT_NAME": "//evil.example"}, ("", "/v1")),
        ({"HTTP_X_FORWARDED_PREFIX": "/a"}, ("/a", "/v1")),
        ({"HTTP_X_FORWARDED_PREFIX": "/of-a-client,/a"}, ("/a", "/v1")),
        ({"HTTP_X_FORWARDED_PREFIX": "//evil.example"}, ("", "/v1")),
        ({"HTTP_X_FORWARDED_PREFIX": "/a", "REMOTE_ADDR": "10.0.0.7"}, ("", "/v1")),
    ],
)
def test_an_application_sees_the_prefix_of_a_trusted_proxy_alone(
    environ: dict[str, str], place: tuple[str, str]
) -> None:
    seen: list[tuple[str, str]] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen.append((environ["SCRIPT_NAME"], environ["PATH_INFO"]))
        return []

    given = {"REMOTE_ADDR": "127.0.0.1", "PATH_INFO": "/v1"} | environ
    BelowPrefix(app, TrustedProxies("127.0.0.1"))(given, lambda *_: None)  # type: ignore[arg-type,return-value]

    assert seen == [place]


@pytest.mark.parametrize(
    ("value", "path", "settled"),
    [
        ("/a", "/a/v1/jobs", [("SCRIPT_NAME", "/a")]),
        ("/a/", "/a/v1/jobs", [("SCRIPT_NAME", "/a")]),
        ("/a", "/a", [("SCRIPT_NAME", "/a")]),
        ("/a", "/v1/jobs", [("X-FORWARDED-PREFIX", "/a")]),
        ("/a", "/ab/v1/jobs", [("X-FORWARDED-PREFIX", "/a")]),
        ("//evil.example", "//evil.example/v1", []),
        ("https://evil.example", "/v1", []),
        ("", "/v1", []),
    ],
)
def test_gunicorn_gets_a_script_name_that_it_can_take_off_the_path(
    value: str, path: str, settled: list[tuple[str, str]]
) -> None:
    host = ("HOST", "localhost")

    assert settle_script_name([host, ("SCRIPT_NAME", value)], path) == [host, *settled]
