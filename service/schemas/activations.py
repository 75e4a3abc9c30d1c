"""A live check: what clients may send, and the shape of the answer for the documentation."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from polyseme.contract.records.job import JOB_ID
from polyseme.service.schemas.fields import StrictSchema, Whole, between
from polyseme.service.schemas.jobs import EXAMPLE_JOB, JobErrorSchema
from polyseme.service.schemas.requests import JOB_STATUSES

MOST_CHARACTERS = 20_000
MOST_NEURONS = 100
DEFAULT_TOP = 50

_JOB = rf"^{JOB_ID.pattern}$"
_TAIL = validate.OneOf(["positive", "negative"])
_NOT_YET = "null until it has succeeded."


def _check_text(text: str) -> None:
    if not 1 <= len(text) <= MOST_CHARACTERS:
        raise ValidationError(f"{len(text)} characters: from 1 to {MOST_CHARACTERS}")
    if not text.strip():
        raise ValidationError("nothing but white space")


class TargetSchema(StrictSchema):
    layer = Whole(required=True, validate=between(0))
    neuron = Whole(required=True, validate=between(0))


class ActivationsRequestSchema(StrictSchema):
    job = fields.String(
        required=True,
        validate=validate.Regexp(_JOB, error="no job id"),
        metadata={
            "description": "A job that has succeeded.",
            "pattern": _JOB,
            "example": EXAMPLE_JOB,
        },
    )
    text = fields.String(
        required=True,
        validate=_check_text,
        metadata={
            "minLength": 1,
            "description": f"At most {MOST_CHARACTERS} characters; not only white space.",
        },
    )
    neurons = fields.List(
        fields.Nested(TargetSchema),
        required=True,
        validate=validate.Length(min=1, max=MOST_NEURONS, error=f"1 to {MOST_NEURONS} neurons"),
        metadata={"description": "Each among the job's, and once."},
    )
    top = Whole(
        validate=between(1, 1000),
        metadata={
            "default": DEFAULT_TOP,
            "description": "Peaks listed of a neuron: the strongest.",
        },
    )


class TextTokenSchema(Schema):
    token = fields.String(required=True)
    token_id = fields.Integer(required=True)
    char_span = fields.List(
        fields.Integer(),
        required=True,
        allow_none=True,
        metadata={"description": "In the text; null: not of it."},
    )
    window = fields.Integer(
        required=True, metadata={"description": "Tokens of two windows do not see each other."}
    )


class ThresholdSchema(Schema):
    positive = fields.Float(
        required=True, allow_none=True, metadata={"description": "null: it never fired."}
    )
    negative = fields.Float(
        required=True, allow_none=True, metadata={"description": "null also with one tail."}
    )


def _chance(description: str, **options: Any) -> fields.Float:
    return fields.Float(
        required=True, metadata={"description": description, "minimum": 0, "maximum": 1}, **options
    )


class TextPeakSchema(Schema):
    token = fields.Integer(required=True, metadata={"description": "Index in `tokens`."})
    tail = fields.String(required=True, validate=_TAIL)
    activation = fields.Float(required=True)
    sense = fields.Integer(
        required=True,
        allow_none=True,
        metadata={
            "description": "null: in none of its tail, as `same` is below the job's `same_at`."
        },
    )
    same = _chance(
        "Mean chance that it means the same as the contexts of the nearest sense; null without "
        "senses.",
        allow_none=True,
    )
    name = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The sense's commonest peak words."},
    )


class CrossActivationSchema(Schema):
    tail = fields.String(required=True, validate=_TAIL)
    senses = fields.List(fields.Integer(), required=True, metadata={"description": "Two of them."})
    names = fields.List(fields.String(), required=True)
    tokens = fields.List(
        fields.Integer(),
        required=True,
        metadata={"description": "The strongest peak of each, an index in `tokens`."},
    )
    same = _chance("Mean chance that contexts of the two mean the same.")


class TextNeuronSchema(Schema):
    layer = fields.Integer(required=True)
    neuron = fields.Integer(required=True)
    hook = fields.String(required=True, metadata={"example": "blocks.3.mlp.hook_post"})
    activations = fields.List(
        fields.Float(allow_none=True),
        required=True,
        metadata={"description": "Of each token; null: does not count."},
    )
    threshold = fields.Nested(ThresholdSchema, required=True)
    peaks = fields.List(fields.Nested(TextPeakSchema), required=True)
    cross_activations = fields.List(fields.Nested(CrossActivationSchema), required=True)


class ActivationsLinksSchema(Schema):
    self = fields.String(required=True)
    job = fields.String(required=True)


class ActivationsSchema(Schema):
    object = fields.String(required=True, validate=validate.OneOf(["activations"]))
    id = fields.String(required=True, metadata={"example": "act_0199c2d3a1b24f6c8e1d5a7b9c3d"})
    status = fields.String(required=True, validate=validate.OneOf(JOB_STATUSES))
    job = fields.String(required=True, metadata={"example": EXAMPLE_JOB})
    model = fields.String(required=True)
    created_at = fields.DateTime(required=True)
    finished_at = fields.DateTime(required=True, allow_none=True)
    text = fields.String(required=True)
    tokens = fields.List(
        fields.Nested(TextTokenSchema),
        required=True,
        allow_none=True,
        metadata={"description": _NOT_YET},
    )
    neurons = fields.List(
        fields.Nested(TextNeuronSchema),
        required=True,
        allow_none=True,
        metadata={"description": _NOT_YET},
    )
    note = fields.String(
        required=True, allow_none=True, metadata={"description": "Why no peak has a sense."}
    )
    error = fields.Nested(JobErrorSchema, required=True, allow_none=True)
    links = fields.Nested(ActivationsLinksSchema, required=True)
