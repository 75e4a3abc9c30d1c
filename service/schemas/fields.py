"""marshmallow fields that take exactly their type: 1 is no true, "3" is no 3, and what is unknown
is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from polyseme.contract.records.catalogue import MODEL_ID
from polyseme.contract.records.selection import Selection, normalise

LARGEST = 10**15 - 1  # of whole numbers
LONGEST_SELECTION = 100_000
MOST_DICTIONARIES = 256  # of one job, each of another layer
MOST_METADATA = 16
LONGEST_METADATA_KEY = 64
LONGEST_METADATA_VALUE = 512

_WHOLE = re.compile(r"-?[0-9]{1,15}")
_DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,17})?([eE][+-]?[0-9]{1,2})?")


class StrictSchema(Schema):
    """Refuses unknown fields, and names those it has."""

    class Meta:
        unknown = RAISE

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        known = ", ".join(f.data_key or name for name, f in self.fields.items())
        self.error_messages["unknown"] = f"unknown; known are {known}"
        self.error_messages["type"] = "expected an object"
        for f in self.fields.values():
            f.error_messages |= {"required": "required", "null": "null is not allowed here"}


class Whole(fields.Integer):
    """A whole number in JSON, of at most 15 digits."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> int:
        if type(value) is not int:
            raise ValidationError("expected a whole number")
        if abs(value) > LARGEST:
            raise ValidationError("expected a whole number of at most 15 digits")
        return value


class Fraction(fields.Float):
    """A finite number in JSON."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> float:
        # A whole number may be too large for a float.
        if type(value) is int and abs(value) > LARGEST:
            raise ValidationError("expected a number of at most 15 digits")
        if type(value) not in (int, float) or not math.isfinite(value):
            raise ValidationError("expected a number")
        return float(value)


class Flag(fields.Boolean):
    """true or false in JSON."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> bool:
        if type(value) is not bool:
            raise ValidationError("expected true or false")
        return value


class QueryWhole(fields.Integer):
    """A whole number in a query string."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> int:
        if not isinstance(value, str) or not _WHOLE.fullmatch(value):
            raise ValidationError(f"expected a whole number, not {value!r:.60}")
        return int(value)


class QueryNumber(fields.Float):
    """A number in a query string; never NaN or infinite."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> float:
        if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
            raise ValidationError(f"expected a number, not {value!r:.60}")
        return float(value)


class QueryFlag(fields.Boolean):
    """true or false in a query string."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> bool:
        if value not in ("true", "false"):
            raise ValidationError(f"expected true or false, not {value!r:.60}")
        return bool(value == "true")


class Selected(fields.Field):
    """Layers or neurons:

    "all", ranges such as "0-3,14", or a list of whole numbers from 0; in order, and each once.
    """

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> Selection:
        if isinstance(value, str):
            return normalise(value)
        if not isinstance(value, list):
            raise ValidationError(
                'expected "all", ranges such as "0-3,14", or a list of whole numbers'
            )
        if not 1 <= len(value) <= LONGEST_SELECTION:
            raise ValidationError(
                f"a list has 1 to {LONGEST_SELECTION} numbers, or is written as ranges"
            )
        wrong = {
            i: ["expected a whole number from 0"]
            for i, v in enumerate(value)
            if type(v) is not int or not 0 <= v <= LARGEST
        }
        if wrong:
            raise ValidationError(dict(list(wrong.items())[:20]))
        return normalise(tuple(value))


class Dictionaries(fields.Field):
    """One id of a sparse dictionary, or a list of them; a list when loaded."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> list[str]:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list):
            raise ValidationError("expected a dictionary's id, or a list of ids")
        if not 1 <= len(names) <= MOST_DICTIONARIES:
            raise ValidationError(f"a list has 1 to {MOST_DICTIONARIES} ids, one a layer")
        wrong = {
            i: ["expected a dictionary's id"]
            for i, name in enumerate(names)
            if not isinstance(name, str) or not MODEL_ID.fullmatch(name)
        }
        if wrong:
            raise ValidationError(wrong if isinstance(value, list) else wrong[0])
        if twice := [name for i, name in enumerate(names) if name in names[:i]]:
            raise ValidationError(f"{twice[0]} is given twice")
        return names


class Metadata(fields.Field):
    """Pairs of strings that the client keeps with a job."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> dict[str, str]:
        if not isinstance(value, Mapping):
            raise ValidationError("expected an object of strings")
        if len(value) > MOST_METADATA:
            raise ValidationError(f"{len(value)} pairs: at most {MOST_METADATA}")
        wrong = {key: [what] for key, text in value.items() if (what := _wrong_pair(key, text))}
        if wrong:
            raise ValidationError(wrong)
        return dict(value)


def choice(values: Sequence[str | None]) -> validate.OneOf:
    return validate.OneOf(values, error=f"{{input!r:.60}}: use {', '.join(map(str, values))}")


def between(low: float, high: float | None = None) -> validate.Range:
    return validate.Range(
        low, high, error=f"{{input}}: from {low}" + ("" if high is None else f" to {high}")
    )


def _wrong_pair(key: str, text: Any) -> str | None:
    if not 1 <= len(key) <= LONGEST_METADATA_KEY:
        return f"a name has 1 to {LONGEST_METADATA_KEY} characters"
    if not isinstance(text, str):
        return "expected a string"
    return (
        f"at most {LONGEST_METADATA_VALUE} characters"
        if len(text) > LONGEST_METADATA_VALUE
        else None
    )


SELECTION_SCHEMA: dict[str, Any] = {
    "oneOf": [
        {
            "type": "string",
            "pattern": r"^(all|[0-9]{1,7}(-[0-9]{1,7})?(,[0-9]{1,7}(-[0-9]{1,7})?)*)$",
        },
        {
            "type": "array",
            "items": {"type": "integer", "minimum": 0},
            "minItems": 1,
            "maxItems": LONGEST_SELECTION,
        },
    ],
}
_DICTIONARY_ID: dict[str, Any] = {"type": "string", "pattern": f"^{MODEL_ID.pattern}$"}
DICTIONARIES_SCHEMA: dict[str, Any] = {
    "oneOf": [
        _DICTIONARY_ID,
        {
            "type": "array",
            "items": _DICTIONARY_ID,
            "minItems": 1,
            "maxItems": MOST_DICTIONARIES,
            "uniqueItems": True,
        },
        {"type": "null"},
    ],
}
METADATA_SCHEMA: dict[str, Any] = {
    "type": "object",
    "maxProperties": MOST_METADATA,
    "additionalProperties": {"type": "string", "maxLength": LONGEST_METADATA_VALUE},
}
