"""How the service's JSON becomes frozen records. Knows none of them.

Reads what a record has; what a newer service adds is in `raw`.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache, singledispatch
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

R = TypeVar("R")
Raw = Mapping[str, Any]


@singledispatch
def to_html(record: object) -> str | None:
    """A record for a notebook. `polyseme.html` adds how each kind looks; others are plain text."""
    return None


@dataclass(frozen=True, kw_only=True)
class Record:
    raw: Raw = field(default_factory=dict, repr=False, compare=False)  # the service's JSON, whole

    def _repr_html_(self) -> str | None:
        return to_html(self)


def reader(kind: type[R]) -> Callable[[Raw], R]:
    """A function that reads a record from JSON.

    It raises ValueError for a field that has no default and is missing.
    """
    return lambda data: read(kind, data)


def read(kind: type[R], data: Raw) -> R:
    if not isinstance(data, Mapping):
        raise ValueError(f"no {kind.__name__}: {data!r:.100}")
    values: dict[str, Any] = {}
    for name, (convert, has_default) in _plan(cast(Any, kind)).items():
        # A null where the record has a default that is not None, such as the tokens of an
        # unfinished check.
        if (value := data.get(name)) is not None:
            values[name] = convert(value)
        elif not has_default:
            raise ValueError(f"this {kind.__name__} has no {name}: is it one?")
    if issubclass(kind, Record):
        values["raw"] = data
    return kind(**values)


@cache
def _plan(kind: Any) -> dict[str, tuple[Callable[[Any], Any], bool]]:
    hints = get_type_hints(kind)
    return {
        f.name: (
            _converter(hints[f.name]),
            f.default is not MISSING or f.default_factory is not MISSING,
        )
        for f in fields(kind)
        if f.name != "raw"
    }


def _converter(hint: Any) -> Callable[[Any], Any]:
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(a for a in get_args(hint) if a is not type(None))
    if get_origin(hint) is tuple:
        inner = _converter(get_args(hint)[0])
        return lambda values: tuple(None if v is None else inner(v) for v in _listed(values))
    if isinstance(hint, type) and hasattr(hint, "__dataclass_fields__"):
        return reader(hint)
    return lambda value: value


def _listed(values: Any) -> Sequence[Any]:
    if not isinstance(values, list):
        raise ValueError(f"expected a list: {values!r:.100}")
    return values
