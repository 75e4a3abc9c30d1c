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

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def parse_json(body: bytes) -> Any:
    """Strict JSON. Raises MalformedRequest saying where it goes wrong."""
    if _has_too_many_objects(body):
        raise MalformedRequest(f"the JSON has more than {MOST_OBJECTS} objects and lists")
    try:
        text = body.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_no_name_twice,
            parse_constant=_no_constant,
            parse_float=_finite_float,
        )
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


def _has_too_many_objects(body: bytes) -> bool:
    """Those in texts are none; to tell takes longer."""
    return (
        len(body) > MOST_OBJECTS
        and _count_openings(body) > MOST_OBJECTS
        and (b'"' not in body or _count_openings(_STRING.sub(b"", body)) > MOST_OBJECTS)
    )


def _count_openings(text: bytes) -> int:
    return text.count(b"{") + text.count(b"[")


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
