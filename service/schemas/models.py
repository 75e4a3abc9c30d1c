"""The shape of a model, for the documentation."""

from __future__ import annotations

from marshmallow import Schema, fields, validate


class SiteSchema(Schema):
    """A place of the model whose units can be analysed, or the reason why it has none."""

    site = fields.String(required=True, metadata={"example": "mlp"})
    units = fields.Integer(
        required=True, metadata={"description": "Of a layer; 0 where there is a `why_not`."}
    )
    hook = fields.String(required=True, metadata={"example": "blocks.{layer}.mlp.hook_post"})
    signed = fields.Boolean(
        required=True, metadata={"description": "Negative activations mean something."}
    )
    why_not = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Why this model has none of it; null where it has."},
    )
    head_size = fields.Integer(
        required=True,
        allow_none=True,
        metadata={
            "description": "Units that lie side by side in one attention head; null without heads."
        },
    )


class ModelSchema(Schema):
    """Everything below `state` is null until a worker has looked at the model."""

    id = fields.String(required=True, metadata={"example": "smollm2-135m-instruct"})
    object = fields.String(required=True, validate=validate.OneOf(["model"]))
    source = fields.String(
        required=True,
        metadata={
            "description": "`hub:` with a name and revision, or `path:` or `gguf:` with the last "
            "part of where it lies; an administrator is shown all of that.",
            "example": "gguf:SmolLM2-135M-Instruct.Q4_1.gguf",
        },
    )
    state = fields.String(
        required=True,
        validate=validate.OneOf(["ready", "undescribed", "unusable"]),
        metadata={
            "description": "undescribed: no worker has looked at it yet; unusable: see `error`"
        },
    )
    family = fields.String(required=True, allow_none=True)
    kind = fields.String(
        required=True, allow_none=True, metadata={"description": "decoder or encoder"}
    )
    layers = fields.Integer(required=True, allow_none=True)
    neurons = fields.Integer(required=True, allow_none=True, metadata={"description": "A layer."})
    gated = fields.Boolean(
        required=True, allow_none=True, metadata={"description": "Activations are signed."}
    )
    hidden_size = fields.Integer(required=True, allow_none=True)
    vocabulary = fields.Integer(required=True, allow_none=True)
    max_positions = fields.Integer(required=True, allow_none=True)
    bos = fields.String(
        required=True, allow_none=True, metadata={"description": "added, available or none"}
    )
    separator = fields.Boolean(
        required=True, allow_none=True, metadata={"description": "`concat` is possible."}
    )
    sites = fields.List(fields.Nested(SiteSchema), required=True)
    tokens_per_second = fields.Float(required=True, allow_none=True)
    neurons_per_second = fields.Float(required=True, allow_none=True)
    characters_per_token = fields.Float(required=True, allow_none=True)
    error = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Why it cannot be analysed. Folders are for administrators."},
    )


class ModelListSchema(Schema):
    object = fields.String(required=True, validate=validate.OneOf(["list"]))
    data = fields.List(fields.Nested(ModelSchema), required=True)


class StateSchema(Schema):
    status = fields.String(required=True)


class ReadySchema(Schema):
    status = fields.String(required=True, validate=validate.OneOf(["ready"]))
    workers = fields.Integer(
        required=True, metadata={"description": "Workers seen of late; 0 does not make it unready."}
    )
    queues = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        metadata={
            "description": "How many of them serve each queue; left out for whoever may not read.",
            "example": {"default": 2},
        },
    )
