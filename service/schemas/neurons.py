"""The shape of a result, for the documentation: rows come from Parquet and are never dumped through these."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from contract.results import STATUSES


def _number(description: str) -> fields.Float:
    return fields.Float(allow_none=True, metadata={"description": description})


class NeuronRowSchema(Schema):
    """Only the columns asked for with `fields`; all of them by default."""

    layer = fields.Integer()
    neuron = fields.Integer()
    hook = fields.String(metadata={"example": "blocks.3.mlp.hook_post"})
    status = fields.String(validate=validate.OneOf(STATUSES))
    n_tokens = fields.Integer()
    density = _number("Share of the tokens with activation > 0.")
    mean = _number("Over all counted tokens.")
    std = _number("Population standard deviation.")
    skewness = _number("null when std is 0.")
    kurtosis = _number("Excess: 0 for a normal distribution; null when std is 0.")
    min = _number("Smallest activation.")
    max = _number("Largest activation.")
    top_contexts = fields.Integer(allow_none=True)
    sampled_contexts = fields.Integer(allow_none=True)
    distinct_contexts = fields.Integer(allow_none=True)
    near_duplicates = fields.Integer(allow_none=True)
    peak_token = fields.String(allow_none=True)
    peak_token_share = _number("Of the distinct contexts.")
    peak_token_count = fields.Integer(allow_none=True)


class NeuronListSchema(Schema):
    object = fields.String(required=True, validate=validate.OneOf(["list"]))
    data = fields.List(fields.Nested(NeuronRowSchema), required=True)
    total = fields.Integer(required=True, metadata={"description": "Neurons that pass the filters."})
    next_cursor = fields.String(required=True, allow_none=True)


class HistogramSchema(Schema):
    edges = fields.List(
        fields.Float(),
        required=True,
        metadata={"description": "One more than counts. 0 stands twice: the bin between is exact zero."},
    )
    counts = fields.List(fields.Integer(), required=True)


class StatsSchema(Schema):
    n_tokens = fields.Integer(required=True)
    density = fields.Float(required=True)
    mean = fields.Float(required=True, allow_none=True)
    std = fields.Float(required=True, allow_none=True)
    skewness = fields.Float(required=True, allow_none=True)
    kurtosis = fields.Float(required=True, allow_none=True)
    min = fields.Float(required=True, allow_none=True)
    max = fields.Float(required=True, allow_none=True)
    quantiles = fields.Dict(
        required=True,
        keys=fields.String(),
        values=fields.Float(allow_none=True),
        metadata={"example": {"0.5": -0.01, "0.999": 2.31}},
    )
    histogram = fields.Nested(HistogramSchema, required=True)


class PeakTokenSchema(Schema):
    token = fields.String(required=True)
    token_id = fields.Integer(required=True)
    count = fields.Integer(required=True)
    mean = fields.Float(required=True, allow_none=True)
    max = fields.Float(required=True, allow_none=True)


class BandSchema(Schema):
    tail = fields.String(required=True, validate=validate.OneOf(["positive", "negative"]))
    band = fields.Integer(required=True)
    low = fields.Float(required=True, allow_none=True)
    high = fields.Float(required=True, allow_none=True, metadata={"description": "null: no upper end"})
    windows = fields.Integer(required=True)


class ContextSchema(Schema):
    tail = fields.String(required=True, validate=validate.OneOf(["positive", "negative"]))
    sample = fields.String(required=True, validate=validate.OneOf(["top", "interval", "quantile"]))
    band = fields.Integer(required=True, allow_none=True)
    document = fields.Integer(required=True)
    window = fields.Integer(required=True)
    position = fields.Integer(required=True, metadata={"description": "Of the peak in its window."})
    char_span = fields.List(
        fields.Integer(), required=True, metadata={"description": "Of the peak token in its document."}
    )
    activation = fields.Float(required=True, allow_none=True)
    display_start = fields.Integer(required=True, metadata={"description": "Position of tokens[0] in the window."})
    peak = fields.Integer(required=True, metadata={"description": "Index of the peak in `tokens`."})
    tokens = fields.List(fields.String(), required=True)
    activations = fields.List(fields.Float(allow_none=True), required=True)


class LogitSchema(Schema):
    token = fields.String(required=True)
    token_id = fields.Integer(required=True)
    logit = fields.Float(required=True, allow_none=True)


class LogitsSchema(Schema):
    promoted = fields.List(fields.Nested(LogitSchema), required=True)
    suppressed = fields.List(fields.Nested(LogitSchema), required=True)


class NeuronLinksSchema(Schema):
    self = fields.String(required=True)
    job = fields.String(required=True)
    manifest = fields.String(required=True)
    model = fields.String(required=True)


class NeuronSchema(Schema):
    object = fields.String(required=True, validate=validate.OneOf(["neuron"]))
    job = fields.String(required=True)
    model = fields.String(required=True)
    layer = fields.Integer(required=True)
    neuron = fields.Integer(required=True)
    hook = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    stats = fields.Nested(StatsSchema, required=True)
    peak_tokens = fields.List(fields.Nested(PeakTokenSchema), required=True)
    bands = fields.List(fields.Nested(BandSchema), required=True)
    near_duplicates = fields.Integer(required=True, allow_none=True)
    contexts = fields.List(fields.Nested(ContextSchema), required=True)
    logits = fields.Nested(LogitsSchema, required=True, allow_none=True)
    links = fields.Nested(NeuronLinksSchema, required=True)
