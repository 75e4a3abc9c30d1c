"""The shape of a sparse dictionary, and the query of their list."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from polyseme.contract.records.catalogue import MODEL_ID
from polyseme.service.schemas.fields import StrictSchema

_MODEL = rf"^{MODEL_ID.pattern}$"


class DictionariesQuery(StrictSchema):
    model = fields.String(
        validate=validate.Regexp(_MODEL.replace("$", r"\Z"), error="no model id"),
        metadata={"description": "Only those of this model.", "pattern": _MODEL},
    )


class DictionarySchema(Schema):
    """An SAE, a transcoder or the encoder of a cross-layer transcoder; all but `source` that is
    below `state` is null until a worker has read its files.
    """

    id = fields.String(required=True, metadata={"example": "res-9-16k"})
    object = fields.String(required=True, validate=validate.OneOf(["dictionary"]))
    model = fields.String(required=True, metadata={"description": "An id of GET /v1/models."})
    state = fields.String(
        required=True,
        validate=validate.OneOf(["ready", "undescribed", "unusable"]),
        metadata={"description": "undescribed: no worker has read it yet; unusable: see `error`"},
    )
    source = fields.String(
        required=True,
        metadata={
            "description": "`hub:` with a name, folder and revision, or `path:` with the last part "
            "of where it lies.",
            "example": "hub:google/gemma-scope-2b-pt-res/layer_9/width_16k/average_l0_73@fd571b47",
        },
    )
    hook = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Where it reads.", "example": "blocks.9.hook_resid_post"},
    )
    layer = fields.Integer(required=True, allow_none=True)
    site = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "One of the model's `sites`.", "example": "resid_post"},
    )
    architecture = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "standard, gated, topk, groupmax or jumprelu"},
    )
    latents = fields.Integer(required=True, allow_none=True)
    width = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "Numbers of an activation that it encodes."},
    )
    format = fields.String(required=True, allow_none=True, metadata={"example": "gemma-scope-1"})
    sha256 = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Over the names and contents of the files that were read."},
    )
    neuronpedia = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "Its id at Neuronpedia, where its files say so.",
            "example": "gemma-2-2b/9-gemmascope-res-16k",
        },
    )
    expected_l0 = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "Mean active latents a token, where its files say so."},
    )
    prepend_bos = fields.Boolean(
        required=True,
        allow_none=True,
        metadata={"description": "Texts began with that token in training; null: not said."},
    )
    context_size = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "Tokens of a window in training; null: not said."},
    )
    error = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Why it cannot be read. Folders are for administrators."},
    )


class DictionaryListSchema(Schema):
    object = fields.String(required=True, validate=validate.OneOf(["list"]))
    data = fields.List(fields.Nested(DictionarySchema), required=True)
