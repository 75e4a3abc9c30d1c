"""The shape of a corpus, for the documentation."""

from __future__ import annotations

from marshmallow import Schema, fields, validate


class CorpusSchema(Schema):
    id = fields.String(required=True, metadata={"example": "crp_0c9f8b6f4ab2b8c17a54bd10"})
    object = fields.String(required=True, validate=validate.OneOf(["corpus"]))
    sha256 = fields.String(required=True)
    documents = fields.Integer(required=True)
    characters = fields.Integer(required=True)
    longest_characters = fields.Integer(
        required=True, metadata={"description": "Of the longest document."}
    )
    utf8_bytes = fields.Integer(required=True)
    duplicates_dropped = fields.Integer(
        required=True, metadata={"description": "Exact copies of an earlier one."}
    )
    empty_dropped = fields.Integer(
        required=True, metadata={"description": "Nothing but white space."}
    )
    bad_lines_skipped = fields.Integer(
        required=True,
        metadata={"description": "No documents, as with `?on_bad_line=skip`."},
    )
    languages = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        required=True,
        metadata={
            "description": "Documents by language, of the 20 commonest, where `?language_field=` "
            "named them.",
            "example": {"de": 12, "en": 30},
        },
    )
    warnings = fields.List(
        fields.String(),
        metadata={"description": "In the answer to an upload: what was left out of the file."},
    )
    created_at = fields.DateTime(required=True)


class CorpusListSchema(Schema):
    object = fields.String(required=True, validate=validate.OneOf(["list"]))
    data = fields.List(fields.Nested(CorpusSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
