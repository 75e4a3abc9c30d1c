"""Sets of directions: what may be sent, and how one is shown."""

from __future__ import annotations

import math
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from polyseme.contract.records.vector_set import LONGEST_LABEL, MOST_ROWS, WIDEST
from polyseme.service.schemas.fields import (
    Flag,
    QueryFlag,
    QueryWhole,
    StrictSchema,
    Whole,
    between,
)

_NAME = r"^[a-z0-9](?:[a-z0-9_-]|\.(?!\.)){0,63}$"
_NAMED: dict[str, Any] = {
    "validate": validate.Regexp(_NAME, error="lower-case letters, digits, _, - and ., at most 64"),
    "metadata": {"pattern": _NAME, "description": "For lists and exports.", "example": "tenses"},
}
_MODEL: dict[str, Any] = {
    "validate": validate.Length(min=1, max=96, error="1 to 96 characters"),
    "metadata": {"description": "An id of GET /v1/models.", "example": "smollm2-135m-instruct"},
}
_SITE: dict[str, Any] = {
    "validate": validate.Length(1, 40),
    "metadata": {
        "description": "One of the model's `sites`: the directions are of what stands there.",
        "example": "resid_post",
    },
}
_LAYER = {"example": 9}
_NORMALIZE = {
    "description": "Divides each vector, and its bias, by the vector's length. Without it they are "
    "taken as they are."
}


class Numbers(fields.Field):
    """A list of finite numbers."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> list[float]:
        if not isinstance(value, list) or not value:
            raise ValidationError("expected a list of numbers")
        wrong = {i: ["expected a finite number"] for i, v in enumerate(value) if not _is_number(v)}
        if wrong:
            raise ValidationError(dict(list(wrong.items())[:20]))
        return [float(v) for v in value]


class Matrix(Numbers):
    """Lists of finite numbers, all of one length."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> Any:
        if not isinstance(value, list) or not value:
            raise ValidationError("expected a list of vectors, each a list of numbers")
        if len(value) > MOST_ROWS:
            raise ValidationError(f"{len(value)} vectors: at most {MOST_ROWS}")
        rows: list[list[float]] = []
        for number, row in enumerate(value):
            try:
                rows.append(super()._deserialize(row, attr, data))
            except ValidationError as e:
                raise ValidationError({number: e.messages}) from e
            if len(row) != len(value[0]):
                text = f"{len(row)} numbers, and the first has {len(value[0])}"
                raise ValidationError({number: [text]})
        return rows


def _is_number(value: Any) -> bool:
    if type(value) is int:
        return abs(value) < 1 << 128
    return type(value) is float and math.isfinite(value)


class VectorsSaidSchema(StrictSchema):
    """What a set says of itself."""

    name = fields.String(**_NAMED)
    model = fields.String(required=True, **_MODEL)
    site = fields.String(required=True, **_SITE)
    layer = Whole(required=True, validate=between(0), metadata=_LAYER)
    labels = fields.List(
        fields.String(
            validate=validate.Length(max=LONGEST_LABEL, error=f"at most {LONGEST_LABEL} characters")
        ),
        metadata={"description": "What each direction is called."},
    )
    normalize = Flag(metadata=_NORMALIZE | {"default": False})


class VectorsBodySchema(VectorsSaidSchema):
    vectors = Matrix(
        required=True,
        metadata={
            "type": "array",
            "items": {"type": "array", "items": {"type": "number"}},
            "description": f"1 to {MOST_ROWS} directions, each as wide as the site: at most "
            f"{WIDEST} numbers.",
        },
    )
    bias = Numbers(
        metadata={
            "type": "array",
            "items": {"type": "number"},
            "description": "Of each direction, added to its product.",
        }
    )


class VectorsQuery(StrictSchema):
    """Of a safetensors file, beside or in place of its metadata."""

    name = fields.String(**_NAMED)
    model = fields.String(**_MODEL)
    site = fields.String(**_SITE)
    layer = QueryWhole(validate=between(0), metadata=_LAYER)
    normalize = QueryFlag(metadata=_NORMALIZE)


class VectorListQuery(StrictSchema):
    limit = QueryWhole(load_default=100, validate=between(1, 1000))
    cursor = fields.String()


class VectorsSchema(Schema):
    id = fields.String(required=True, metadata={"example": "vec_0c9f8b6f4ab2b8c17a54bd10"})
    object = fields.String(required=True, validate=validate.OneOf(["vectors"]))
    name = fields.String(required=True, allow_none=True)
    model = fields.String(required=True)
    site = fields.String(required=True)
    layer = fields.Integer(required=True)
    count = fields.Integer(required=True, metadata={"description": "Of directions."})
    width = fields.Integer(required=True, metadata={"description": "Numbers of each."})
    has_bias = fields.Boolean(required=True)
    normalized = fields.Boolean(
        required=True, metadata={"description": "Whether they were divided by their lengths."}
    )
    labels = fields.List(
        fields.String(),
        required=True,
        allow_none=True,
        metadata={"description": "In their order. Null without, and in lists."},
    )
    sha256 = fields.String(required=True, metadata={"description": "Of the file in the store."})
    bytes = fields.Integer(required=True, metadata={"description": "Of the file in the store."})
    created_at = fields.DateTime(required=True)


class VectorListSchema(Schema):
    object = fields.String(required=True, validate=validate.OneOf(["list"]))
    data = fields.List(fields.Nested(VectorsSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
