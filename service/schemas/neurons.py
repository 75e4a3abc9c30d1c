"""The shape of a result, for the documentation: rows come from Parquet and are never dumped through
these.

What a field is, and when it is null, `columns` and `entries` of `polyseme.contract.files` say. Only
what answers have beside the files' columns is described here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pyarrow as pa
from marshmallow import Schema, fields, validate

from polyseme.contract.files import columns, entries
from polyseme.contract.files.column import ACTIVATION, LOGIT_UNIT, STATUSES, Column

# JSON has no word for a number that is not finite, and such could be among what the model gives.
_MEASURED = (ACTIVATION, LOGIT_UNIT)
# A client is to be ready for null in anything else of a row.
_IN_EVERY_ROW = ("layer", "neuron", "hook", "n_tokens")


def _may_be_null(column: Column) -> bool:
    is_measured = column.unit in _MEASURED and not pa.types.is_list(column.type)
    return column.null is not None or is_measured


def _field(column: Column, kind: pa.DataType, **options: Any) -> fields.Field:
    if pa.types.is_list(kind):
        inner = _field(column, kind.value_type, allow_none=column.unit in _MEASURED)
        return fields.List(inner, **options)
    if pa.types.is_floating(kind):
        return fields.Float(**options)
    if pa.types.is_integer(kind):
        return fields.Integer(**options)
    if pa.types.is_boolean(kind):
        return fields.Boolean(**options)
    if column.choices:
        values = [*column.choices, *([None] if options.get("allow_none") else [])]
        options["validate"] = validate.OneOf(values)
    return fields.String(**options)


def _document(column: Column, *, is_nullable: bool, **options: Any) -> fields.Field:
    metadata = {"description": column.description}
    if column.name == "hook":
        metadata["example"] = "blocks.3.mlp.hook_post"
    if is_nullable:
        options["allow_none"] = True
    return _field(column, column.type, metadata=metadata, **options)


def _shape(
    name: str,
    described: Sequence[Column],
    more: dict[str, fields.Field] | None = None,
    *,
    without: Collection[str] = (),
) -> type[Schema]:
    """A schema of the columns and what an answer has beside them, in the place of `without`."""
    own = {
        c.name: _document(c, is_nullable=_may_be_null(c), required=True)
        for c in described
        if c.name not in without
    }
    return type(name, (Schema,), own | (more or {}))


def _token_fields() -> dict[str, fields.Field]:
    """In the place of the row in the vocabulary."""
    return {"token": fields.String(required=True), "token_id": fields.Integer(required=True)}


def _spoken_fields() -> dict[str, fields.Field]:
    """Likewise, of tokens that stand in contexts."""
    said = {
        "description": "What the contexts say most often where the token stands, if it is a part "
        "of a character; else as `token`."
    }
    return _token_fields() | {"text": fields.String(required=True, metadata=said)}


NeuronRowSchema: type[Schema] = type(
    "NeuronRowSchema",
    (Schema,),
    {
        "__doc__": "Only the columns asked for with `fields`; all of them by default.",
        **{c.name: _document(c, is_nullable=c.name not in _IN_EVERY_ROW) for c in columns.ROW},
    },
)


class NeuronListSchema(Schema):
    object = fields.String(required=True, validate=validate.OneOf(["list"]))
    data = fields.List(fields.Nested(NeuronRowSchema), required=True)
    total = fields.Integer(
        required=True, metadata={"description": "Neurons that pass the filters."}
    )
    next_cursor = fields.String(required=True, allow_none=True)


ControlRowSchema: type[Schema] = type(
    "ControlRowSchema",
    (Schema,),
    {
        "__doc__": "Only the columns asked for with `fields`; all of them by default.",
        **{
            c.name: _document(c, is_nullable=c.name not in (*_IN_EVERY_ROW, "ghost"))
            for c in columns.GHOST_SCALARS
        },
    },
)


class ControlListSchema(Schema):
    object = fields.String(required=True, validate=validate.OneOf(["list"]))
    data = fields.List(fields.Nested(ControlRowSchema), required=True)
    total = fields.Integer(
        required=True, metadata={"description": "Control units that pass the filters."}
    )
    next_cursor = fields.String(required=True, allow_none=True)


class HistogramSchema(Schema):
    edges = fields.List(
        fields.Float(),
        required=True,
        metadata={
            "description": "One more than counts. 0 stands twice: the bin between is exact zero."
        },
    )
    counts = fields.List(fields.Integer(), required=True)


StatsSchema = _shape(
    "StatsSchema",
    columns.STATS,
    {
        "quantiles": fields.Dict(
            required=True,
            keys=fields.String(),
            values=fields.Float(allow_none=True),
            metadata={"example": {"0.5": -0.01, "0.999": 2.31}},
        ),
        "histogram": fields.Nested(HistogramSchema, required=True),
    },
)


def _char_span() -> fields.List:
    return fields.List(
        fields.Integer(),
        required=True,
        metadata={"description": "Of the peak token in its document."},
    )


PeakTokenSchema = _shape("PeakTokenSchema", entries.PEAK_TOKEN, _spoken_fields())
BandSchema = _shape("BandSchema", entries.BAND)
ContextSchema = _shape(
    "ContextSchema",
    entries.CONTEXT,
    {
        "char_span": _char_span(),
        "peak": fields.Integer(
            required=True, metadata={"description": "Index of the peak in `tokens`."}
        ),
        "peak_span": fields.List(
            fields.Integer(),
            required=True,
            allow_none=True,
            metadata={
                "description": "Of the peak token in `text`, in characters; null when it stands "
                "for none of it, as a special token does."
            },
        ),
        "tokens": fields.List(fields.String(), required=True),
        "spans": fields.List(
            fields.List(fields.Integer(), allow_none=True),
            required=True,
            metadata={
                "description": "Of each of `tokens` in `text`, in characters; null for one that "
                "stands for none of it: a special token, or one of another document."
            },
        ),
        "special": fields.List(
            fields.Integer(),
            required=True,
            metadata={"description": "Indices in `tokens` of special tokens."},
        ),
    },
    without=("char_start", "char_end", "peak_start", "peak_end", "token_starts", "token_ends"),
)
EvidenceSchema = _shape(
    "EvidenceSchema",
    entries.EVIDENCE_ENTRY,
    {
        "char_span": _char_span(),
        **_spoken_fields(),
    },
    without=("char_start", "char_end", "token"),
)
LogitSchema = _shape("LogitSchema", entries.LOGIT, _token_fields())


class LogitsSchema(Schema):
    promoted = fields.List(fields.Nested(LogitSchema), required=True)
    suppressed = fields.List(fields.Nested(LogitSchema), required=True)


_ENDS = ("polysemanticity_low", "polysemanticity_high")
PolysemanticitySchema = _shape(
    "PolysemanticitySchema",
    columns.SCORES,
    {
        "same_at": fields.Float(
            required=True,
            metadata={"description": "The senses depend on it, and their counts and coverage."},
        ),
        "score": fields.Float(
            required=True,
            allow_none=True,
            metadata={"description": "polysemanticity: it depends on no grouping."},
        ),
        "interval": fields.List(
            fields.Float(),
            required=True,
            allow_none=True,
            metadata={"description": "90 % interval over which contexts were drawn."},
        ),
    },
    without=("status", "polysemanticity", *_ENDS),
)


class NegativeSchema(Schema):
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    meaning = fields.String(required=True)
    polysemanticity = fields.Nested(PolysemanticitySchema, required=True, allow_none=True)


SenseTokenSchema = _shape("SenseTokenSchema", entries.SENSE_TOKEN, _spoken_fields())


class SenseActivationSchema(Schema):
    min = fields.Float(required=True)
    median = fields.Float(required=True)
    max = fields.Float(required=True)


LanguageSchema = _shape("LanguageSchema", entries.LANGUAGE)
SenseSchema = _shape(
    "SenseSchema",
    entries.SENSE,
    {
        "languages": fields.List(fields.Nested(LanguageSchema), required=True),
        "tokens": fields.List(fields.Nested(SenseTokenSchema), required=True),
        "activation": fields.Nested(SenseActivationSchema, required=True),
        "contexts": fields.List(
            fields.Integer(), required=True, metadata={"description": "Indices in `contexts`."}
        ),
        "evidence": fields.List(
            fields.Integer(), required=True, metadata={"description": "Indices in `evidence`."}
        ),
    },
    without=("activation_min", "activation_median", "activation_max", "tokens", "languages"),
)
MergeSchema = _shape("MergeSchema", entries.MERGE)


class CurvePointSchema(Schema):
    same_at = fields.Float(required=True)
    sense_count = fields.Integer(required=True, allow_none=True)
    coverage = fields.Float(required=True, allow_none=True)
    exact = fields.Boolean(
        required=True,
        metadata={
            "description": "True where the senses are those of the report, and so are the "
            "numbers. Elsewhere a group "
            "that the job did not find is not looked into for two uses of a word: the count may "
            "be too low."
        },
    )


class TreeSchema(Schema):
    object = fields.String(required=True, validate=validate.OneOf(["tree"]))
    job = fields.String(required=True)
    layer = fields.Integer(required=True)
    neuron = fields.Integer(required=True)
    same_at = fields.Float(required=True, allow_none=True, metadata={"description": "Of the job."})
    tail = fields.String(required=True, validate=validate.OneOf(["positive", "negative"]))
    contexts = fields.List(
        fields.Integer(),
        required=True,
        metadata={
            "description": "The first leaves: indices in the report's `contexts`. Leaf i is piece "
            "i."
        },
    )
    evidence = fields.List(
        fields.Integer(),
        required=True,
        metadata={"description": "The leaves after them: indices in the report's `evidence`."},
    )
    merges = fields.List(
        fields.Nested(MergeSchema),
        required=True,
        metadata={"description": "Merge i of n leaves makes piece n + i."},
    )
    score = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "The same at every point: it depends on no grouping."},
    )
    control_score = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "Its median over the layer's control units; null without them."},
    )
    curve = fields.List(
        fields.Nested(CurvePointSchema),
        required=True,
        metadata={"description": "What values of `same_at` give, the job's own among them."},
    )


class NeuronLinksSchema(Schema):
    self = fields.String(required=True)
    tree = fields.String(required=True)
    job = fields.String(required=True)
    manifest = fields.String(required=True)
    model = fields.String(required=True)


class NeuronSchema(Schema):
    object = fields.String(required=True, validate=validate.OneOf(["neuron"]))
    job = fields.String(required=True)
    model = fields.String(required=True)
    site = fields.String(
        required=True, metadata={"description": "Whose unit it is.", "example": "mlp"}
    )
    dictionary = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The id of the one whose latent it is; null of other units."},
    )
    layer = fields.Integer(required=True)
    neuron = fields.Integer(required=True)
    hook = fields.String(required=True)
    head = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": columns.IN_HEADS[0].description},
    )
    head_dimension = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": columns.IN_HEADS[1].description},
    )
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    meaning = fields.String(
        required=True,
        metadata={
            "description": "One sentence on what it fires for in this text, made by rules from the "
            "words at its peaks."
        },
    )
    polysemanticity = fields.Nested(PolysemanticitySchema, required=True, allow_none=True)
    negative = fields.Nested(
        NegativeSchema,
        required=True,
        allow_none=True,
        metadata={"description": "null unless both tails ran."},
    )
    senses = fields.List(fields.Nested(SenseSchema), required=True)
    stats = fields.Nested(StatsSchema, required=True)
    peak_tokens = fields.List(fields.Nested(PeakTokenSchema), required=True)
    bands = fields.List(fields.Nested(BandSchema), required=True)
    near_duplicates = fields.Integer(required=True, allow_none=True)
    decoder_norm = fields.Float(
        required=True, allow_none=True, metadata={"description": columns.LATENT[0].description}
    )
    contexts = fields.List(fields.Nested(ContextSchema), required=True)
    evidence = fields.List(
        fields.Nested(EvidenceSchema),
        required=True,
        metadata={"description": "Contexts kept for their meaning alone, without their text."},
    )
    logits = fields.Nested(LogitsSchema, required=True, allow_none=True)
    links = fields.Nested(NeuronLinksSchema, required=True)
