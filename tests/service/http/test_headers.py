from __future__ import annotations

import pytest
from werkzeug.datastructures import Headers

from polyseme.contract.errors import MalformedRequest
from polyseme.service.http.headers import (
    matches_tag,
    read_idempotency_key,
    read_request_id,
    read_wait,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("wait=10", 10),
        ('WAIT="5"', 5),
        ("respond-async, wait=3", 3),
        ("wait=7; x=1", 7),
        ("wait=0", 0),
        ("a", 0),
    ],
)
def test_a_wait_is_read_and_other_preferences_are_ignored(text: str, seconds: int) -> None:
    assert read_wait(Headers({"Prefer": text})) == seconds


@pytest.mark.parametrize(
    "text",
    ["wait", "wait=", "wait=x", "wait=-1", "wait=31", "wait=1.5", "wait=99999999999", "wait=١"],
)
def test_a_wait_that_cannot_be_kept_is_refused(text: str) -> None:
    with pytest.raises(MalformedRequest, match="0 to 30"):
        read_wait(Headers({"Prefer": text}))


def test_an_idempotency_key_is_visible_ascii() -> None:
    assert read_idempotency_key(Headers()) is None
    assert read_idempotency_key(Headers({"Idempotency-Key": "a-1"})) == "a-1"
    for bad in ("", "a b", "é", "x" * 256):
        with pytest.raises(MalformedRequest):
            read_idempotency_key(Headers({"Idempotency-Key": bad}))


def test_a_request_id_that_could_break_a_log_is_not_taken() -> None:
    assert read_request_id(Headers({"X-Request-Id": "abc.1_2-3"})) == "abc.1_2-3"
    assert read_request_id(Headers({"X-Request-Id": "a b"})) is None


@pytest.mark.parametrize(
    ("given", "matches"),
    [('W/"3"', True), ('"3"', True), ('"1", W/"3"', True), ("*", True), ('"33"', False)],
)
def test_tags_are_compared_weakly(given: str, matches: bool) -> None:
    assert matches_tag(Headers({"If-None-Match": given}), 'W/"3"') is matches
    assert not matches_tag(Headers(), 'W/"3"')
