"""The shape of a result, for the documentation: rows come from Parquet and are never dumped through these."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from contract.results import SCORES, STATUSES, negative


def _number(description: str) -> fields.Float:
    return fields.Float(allow_none=True, metadata={"description": description})


def _status(description: str) -> fields.String:
    return fields.String(
        allow_none=True, validate=validate.OneOf([*STATUSES, None]), metadata={"description": description}
    )


# What is said of a tail; each stands in a row twice.
_TAIL_SCORES = {
    "status": lambda: _status("What can be said of the neuron's meaning."),
    "polysemanticity": lambda: _number("The chance that two firings differ in meaning; null unless coherent."),
    "polysemanticity_low": lambda: _number("Lower end of the 90 % bootstrap interval."),
    "polysemanticity_high": lambda: _number("Its upper end."),
    "effective_senses": lambda: _number("The exponential of the entropy of the senses' shares."),
    "sense_count": lambda: fields.Integer(allow_none=True, metadata={"description": "null: too little evidence."}),
    "coverage": lambda: _number("Activation-weighted share of the contexts that are in a sense."),
    "monosemanticity_score": lambda: _number("Activation-weighted mean cosine of the contexts (MS)."),
}


class _NeuronRowSchema(Schema):
    layer = fields.Integer()
    neuron = fields.Integer()
    hook = fields.String(metadata={"example": "blocks.3.mlp.hook_post"})
    alpha = _number("With which senses were told apart; null when they were not asked for.")
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


NeuronRowSchema: type[Schema] = type(
    "NeuronRowSchema",
    (_NeuronRowSchema,),
    {
        "__doc__": "Only the columns asked for with `fields`; all of them by default.",
        **{f.name: _TAIL_SCORES[f.name]() for f in SCORES},
        **{negative(f.name): _TAIL_SCORES[f.name]() for f in SCORES},
    },
)


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
    sense = fields.Integer(required=True, allow_none=True, metadata={"description": "Of its tail; null: in none."})
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


class PolysemanticitySchema(Schema):
    alpha = fields.Float(required=True, metadata={"description": "Every other number here depends on it, but MS."})
    score = fields.Float(required=True, allow_none=True, metadata={"description": "null unless coherent."})
    interval = fields.List(
        fields.Float(), required=True, allow_none=True, metadata={"description": "90 % bootstrap interval."}
    )
    effective_senses = fields.Float(required=True, allow_none=True)
    sense_count = fields.Integer(required=True, allow_none=True)
    coverage = fields.Float(required=True, allow_none=True)
    monosemanticity_score = fields.Float(required=True, allow_none=True)


class NegativeSchema(Schema):
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    meaning = fields.String(required=True)
    polysemanticity = fields.Nested(PolysemanticitySchema, required=True, allow_none=True)


class SenseTokenSchema(Schema):
    token = fields.String(required=True)
    token_id = fields.Integer(required=True)
    at = fields.String(required=True, validate=validate.OneOf(["peak", "near"]))
    count = fields.Integer(required=True, metadata={"description": "Contexts of the sense that hold it there."})
    z = fields.Float(required=True, metadata={"description": "Log-odds against the corpus, in standard deviations."})


class SenseActivationSchema(Schema):
    min = fields.Float(required=True)
    median = fields.Float(required=True)
    max = fields.Float(required=True)


class SenseSchema(Schema):
    tail = fields.String(required=True, validate=validate.OneOf(["positive", "negative"]))
    sense = fields.Integer(required=True, metadata={"description": "0 has the largest share of its tail."})
    share = fields.Float(required=True)
    size = fields.Integer(required=True, metadata={"description": "Contexts."})
    cohesion = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "Mean distance inside, as a quantile of random pairs: 0 tight, 1 random."},
    )
    separation = fields.Float(
        required=True, allow_none=True, metadata={"description": "To the nearest other sense, likewise."}
    )
    medoid = fields.Integer(required=True, metadata={"description": "Index in `contexts`."})
    tokens = fields.List(fields.Nested(SenseTokenSchema), required=True)
    activation = fields.Nested(SenseActivationSchema, required=True)
    lexical_diversity = fields.Float(required=True)
    auprc = fields.Float(required=True, allow_none=True)
    auprc_baseline = fields.Float(required=True, allow_none=True)
    contexts = fields.List(fields.Integer(), required=True, metadata={"description": "Indices in `contexts`."})


class MergeSchema(Schema):
    left = fields.Integer(required=True)
    right = fields.Integer(required=True)
    height = fields.Float(required=True, metadata={"description": "The smallest alpha at which the two are one sense."})


class CurvePointSchema(Schema):
    alpha = fields.Float(required=True)
    sense_count = fields.Integer(required=True, allow_none=True)
    coverage = fields.Float(required=True, allow_none=True)
    score = fields.Float(required=True, allow_none=True)
    effective_senses = fields.Float(required=True, allow_none=True)
    exact = fields.Boolean(
        required=True,
        metadata={
            "description": "True where the senses are those of the report, and so are the numbers. Elsewhere a group "
            "that the job did not find is not looked into for two uses of a word: count and score may be too low."
        },
    )


class TreeSchema(Schema):
    object = fields.String(required=True, validate=validate.OneOf(["tree"]))
    job = fields.String(required=True)
    layer = fields.Integer(required=True)
    neuron = fields.Integer(required=True)
    alpha = fields.Float(required=True, allow_none=True, metadata={"description": "Of the job."})
    tail = fields.String(required=True, validate=validate.OneOf(["positive", "negative"]))
    contexts = fields.List(
        fields.Integer(),
        required=True,
        metadata={"description": "The leaves: indices in the report's `contexts`. Leaf i is piece i."},
    )
    merges = fields.List(
        fields.Nested(MergeSchema), required=True, metadata={"description": "Merge i of n leaves makes piece n + i."}
    )
    curve = fields.List(
        fields.Nested(CurvePointSchema),
        required=True,
        metadata={"description": "What alphas give, the job's own among them."},
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
    layer = fields.Integer(required=True)
    neuron = fields.Integer(required=True)
    hook = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    meaning = fields.String(required=True, metadata={"description": "One sentence, made by rules from this report."})
    polysemanticity = fields.Nested(PolysemanticitySchema, required=True, allow_none=True)
    negative = fields.Nested(
        NegativeSchema, required=True, allow_none=True, metadata={"description": "null unless both tails ran."}
    )
    senses = fields.List(fields.Nested(SenseSchema), required=True)
    stats = fields.Nested(StatsSchema, required=True)
    peak_tokens = fields.List(fields.Nested(PeakTokenSchema), required=True)
    bands = fields.List(fields.Nested(BandSchema), required=True)
    near_duplicates = fields.Integer(required=True, allow_none=True)
    contexts = fields.List(fields.Nested(ContextSchema), required=True)
    logits = fields.Nested(LogitsSchema, required=True, allow_none=True)
    links = fields.Nested(NeuronLinksSchema, required=True)
