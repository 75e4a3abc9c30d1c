"""The shape of every error (RFC 9457)."""

from __future__ import annotations

from marshmallow import Schema, fields


class DetailSchema(Schema):
    pointer = fields.String(
        required=True,
        metadata={"description": "RFC 6901 pointer into the body, or /name of a query parameter."},
    )
    detail = fields.String(
        required=True, metadata={"description": "What is wrong there, and what is allowed."}
    )


class ProblemSchema(Schema):
    type = fields.String(required=True, metadata={"example": "urn:polyseme:problem:unknown_layer"})
    title = fields.String(required=True, metadata={"example": "Unprocessable Content"})
    status = fields.Integer(required=True, metadata={"example": 422})
    detail = fields.String(
        required=True, metadata={"example": "layer 31 of smollm2-135m-instruct: it has 0 to 29"}
    )
    code = fields.String(
        required=True, metadata={"description": "Stable, for programs.", "example": "unknown_layer"}
    )
    request_id = fields.String(
        required=True, metadata={"description": "Also in X-Request-Id, and in the log."}
    )
    errors = fields.List(fields.Nested(DetailSchema), required=True)
