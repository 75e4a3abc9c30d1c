"""JSON, read strictly: UTF-8, no name twice, no NaN, not deep, and no more objects than anybody
means.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from polyseme.contract.errors import MalformedRequest

DEEPEST = 16
# Objects and lists: a batch of a thousand jobs has a tenth. Python looks through all there are
# again and again while more are made, and nobody else has their turn meanwhile.
MOST_OBJECTS = 100_000
MOST_TEXTS = 500_000  # names of fields included; a batch has a tenth, too

_PIECE = 1 << 16  # bytes that are counted at once: nobody else has their turn meanwhile
_TOO_MANY_OBJECTS = f"the JSON has more than {MOST_OBJECTS} objects and lists"
_TOO_MANY_TEXTS = f"the JSON has more than {MOST_TEXTS} texts"
# A text, also one that does not end, or what opens an object or a list. Takes linear time.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{\[]', re.DOTALL)


def parse_json(body: bytes) -> Any:
    """Strict JSON. Raises MalformedRequest saying where it goes wrong."""
    _check_counts(body)
    try:
        text = body.decode("utf-8")
        value = _DECODER.decode(text)
    except UnicodeDecodeError as e:
        raise MalformedRequest(
            f"the body is no UTF-8: byte {e.start} is 0x{body[e.start]:02x}"
        ) from e
    except json.JSONDecodeError as e:
        raise MalformedRequest(
            f"the body is no JSON: {e.msg} at line {e.lineno}, column {e.colno}"
        ) from e
    except RecursionError as e:
        raise MalformedRequest(f"the JSON is deeper than {DEEPEST} levels") from e
    except ValueError as e:  # a whole number of thousands of digits
        raise MalformedRequest("the JSON has a number that is too long") from e
    _check(value)
    return value


def _check_counts(body: bytes) -> None:
    """Raises MalformedRequest for too many objects or texts, before any is made."""
    openings = quotes = 0
    for start in range(0, len(body), _PIECE):
        piece = body[start : start + _PIECE]
        openings += piece.count(b"{") + piece.count(b"[")
        quotes += piece.count(b'"') - piece.count(b'\\"')  # texts may be full of them
        if quotes > 2 * MOST_TEXTS:
            raise MalformedRequest(_TOO_MANY_TEXTS)
        if openings > MOST_OBJECTS:
            _check_tokens(body)
            return


def _check_tokens(body: bytes) -> None:
    """What stands in texts opens nothing; to tell takes longer. Raises as `_check_counts`."""
    openings = texts = 0
    for token in _TOKEN.finditer(body):
        if token[0].startswith(b'"'):
            texts += 1
        else:
            openings += 1
        if openings > MOST_OBJECTS:
            raise MalformedRequest(_TOO_MANY_OBJECTS)
        if texts > MOST_TEXTS:
            raise MalformedRequest(_TOO_MANY_TEXTS)


def _check(value: Any) -> None:
    """Raises MalformedRequest for values that are too deep, and for half a surrogate pair, which
    UTF-8 cannot hold.
    """
    level, depth = [value], 0
    while level:
        if depth > DEEPEST:
            raise MalformedRequest(f"the JSON is deeper than {DEEPEST} levels")
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.keys()
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str) and not item.isascii() and not _is_unicode(item):
                raise MalformedRequest("a string has half of a surrogate pair")
        level, depth = below, depth + 1


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedRequest(f"the name {twice[:80]!r} stands twice in an object")
    return members


def _no_constant(text: str) -> NoReturn:
    raise MalformedRequest(f"{text} is no JSON number")


def _finite_float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise MalformedRequest(f"the number {text[:40]} is too large")
    return number


# Made once: each of many lines would have one made.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_no_name_twice, parse_constant=_no_constant, parse_float=_finite_float
)
