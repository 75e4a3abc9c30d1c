from __future__ import annotations

import pytest

from polyseme.contract.errors import MalformedRequest
from polyseme.contract.strict_json import DEEPEST, MOST_OBJECTS, MOST_TEXTS, parse_json


def test_json_is_read_as_it_stands() -> None:
    assert parse_json('{"a": [1, 2.5, "é", null, true]}'.encode()) == {
        "a": [1, 2.5, "é", None, True]
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no JSON"),
        (b"{", "line 1, column 2"),
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"b": {"a": 1, "a": 1}}', "'a' stands twice"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": -Infinity}', "-Infinity is no JSON number"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": ' + b"1" * 5000 + b"}", "too long"),
        (b'"\xff"', "byte 1 is 0xff"),
        (b"[" * 100 + b"]" * 100, "deeper than"),
        (b"[" * 100_000, "deeper than"),
        (rb'{"a": "\ud800"}', "surrogate"),
        (rb'{"\udfff": 1}', "surrogate"),
    ],
)
def test_json_that_is_not_strict_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(MalformedRequest, match=message):
        parse_json(body)


def test_depth_up_to_the_limit_is_taken() -> None:
    assert parse_json(b"[" * DEEPEST + b"]" * DEEPEST)


def test_so_many_objects_are_too_many_and_texts_do_not_count() -> None:
    texts = '{"texts": ["' + "{[" * MOST_OBJECTS + '\\"{["]}'
    assert parse_json(texts.encode())["texts"][0].endswith('"{[')

    with pytest.raises(MalformedRequest, match="more than 100000 objects"):
        parse_json(b"[" + b"{}," * MOST_OBJECTS + b"{}]")


def test_so_many_texts_are_too_many() -> None:
    assert len(parse_json(b"[" + b'"",' * (MOST_TEXTS - 1) + b'""]')) == MOST_TEXTS
    full_of_quotes = b'["' + b'\\"' * (3 * MOST_TEXTS) + b'"]'
    assert len(parse_json(full_of_quotes)[0]) == 3 * MOST_TEXTS
    with pytest.raises(MalformedRequest, match="more than 500000 texts"):
        parse_json(b"[" + b'"",' * MOST_TEXTS + b'""]')


def test_a_text_that_does_not_end_is_looked_at_once() -> None:
    """A search that begins again at each quote would take hours."""
    with pytest.raises(MalformedRequest, match="Unterminated string"):
        parse_json(b'["' + b"[" * MOST_OBJECTS + b'\\"' * 900_000)
