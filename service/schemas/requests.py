"""What clients may send: an analysis request, a corpus. `query_parameters` has the rest."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import deepcopy
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from polyseme.contract.records.job import CORPUS_ID
from polyseme.contract.records.request import AnalysisRequest, Contexts, Neurons, Senses, Tokens
from polyseme.service.outbound.addresses import LONGEST_URL
from polyseme.service.schemas.fields import (
    DICTIONARIES_SCHEMA,
    METADATA_SCHEMA,
    SELECTION_SCHEMA,
    Dictionaries,
    Flag,
    Fraction,
    Metadata,
    Selected,
    StrictSchema,
    Whole,
    between,
    choice,
)

VECTORS = ("residual", "residual+encoder", "window")
JOB_STATUSES = ("queued", "running", "succeeded", "failed", "cancelling", "cancelled")

CORPUS_NAME = rf"^{CORPUS_ID.pattern}$"

_NEURONS, _CONTEXTS, _TOKENS, _SENSES = Neurons(), Contexts(), Tokens(), Senses()


def _default(value: Any) -> dict[str, Any]:
    """The default is documented here and filled in by `AnalysisRequest.from_dict`."""
    return {"default": value}


class CorpusRefSchema(StrictSchema):
    """Exactly one of the two."""

    id = fields.String(
        validate=validate.Regexp(CORPUS_NAME, error="no corpus id"),
        metadata={"pattern": CORPUS_NAME},
    )
    texts = fields.List(
        fields.String(),
        validate=validate.Length(min=1, error="at least one text"),
        metadata={
            "description": "Documents, registered as a corpus whose id comes from their content."
        },
    )

    @validates_schema
    def check_one(self, data: dict[str, Any], **_: Any) -> None:
        if len(data) != 1:
            raise ValidationError('exactly one of "id" and "texts"')


class NeuronsSchema(StrictSchema):
    site = fields.String(
        validate=validate.Length(1, 40),
        metadata=_default(_NEURONS.site) | {"description": "One of the model's `sites`."},
    )
    hook = fields.String(
        validate=validate.Length(1, 200),
        metadata={
            "description": "In place of `site` and `layers`: a hook's name, as TransformerLens "
            "has it, with a layer, a range or `*`.",
            "example": "blocks.3-5.hook_resid_post",
        },
    )
    dictionary = Dictionaries(
        allow_none=True,
        metadata=DICTIONARIES_SCHEMA
        | {
            "description": "In place of `site` and `layers`: an id of GET /v1/dictionaries, or "
            "several of different layers. Its latents are analysed, and `indices` chooses among "
            "them.",
        },
    )
    layers = Selected(metadata=SELECTION_SCHEMA | _default("all"))
    indices = Selected(metadata=SELECTION_SCHEMA | _default("all"))
    vectors = fields.String(
        allow_none=True,
        validate=validate.Length(1, 64),
        metadata={
            "description": "In place of `layers`: the id of uploaded directions, which are the "
            "units. `site` is `vectors`, and may be left out.",
            "example": "vec_0c9f8b6f4ab2b8c17a54bd10",
        },
    )


class ContextsSchema(StrictSchema):
    top_k = Whole(
        validate=between(1),
        metadata=_default(_CONTEXTS.top_k)
        | {"description": "Lowered to the corpus' documents where it is not sent."},
    )
    sampled = Whole(
        validate=between(0, 1000),
        metadata=_default(_CONTEXTS.sampled) | {"description": "With bands a multiple of them."},
    )
    sampling = fields.String(
        validate=choice(["activation", "interval", "quantile"]),
        metadata=_default(_CONTEXTS.sampling)
        | {
            "description": "`activation`: by activation. With `bands` alone it is `interval`: from "
            "bands of equal width; `quantile`: from bands of equal count."
        },
    )
    bands = Whole(
        validate=between(1, 20),
        metadata=_default(_CONTEXTS.bands) | {"description": "Of `interval` and `quantile`."},
    )
    shown = Whole(
        validate=between(1),
        metadata=_default(_CONTEXTS.shown)
        | {
            "description": "Of the top contexts, and of the sampled ones, how many are kept with "
            "their text; the others with their place. As many as were asked for when `top_k` or "
            "`sampled` is sent without it."
        },
    )
    window = Whole(
        validate=between(8),
        metadata=_default(_CONTEXTS.window) | {"description": "Tokens; at most the model's."},
    )
    packing = fields.String(
        validate=choice(["document", "concat"]), metadata=_default(_CONTEXTS.packing)
    )
    per_document = Whole(
        allow_none=True,
        validate=between(1, 1),
        metadata=_default(_CONTEXTS.per_document)
        | {
            "description": "Contexts that one document may give to one list: 1, or null for no "
            "limit."
        },
    )
    tails = fields.String(
        validate=choice(["auto", "positive", "both"]),
        metadata=_default(_CONTEXTS.tails)
        | {
            "description": "`auto`: the positive one of MLP neurons; both of other units whose "
            "negative activations mean something."
        },
    )
    near_duplicates = fields.String(
        validate=choice(["drop", "keep"]), metadata=_default(_CONTEXTS.near_duplicates)
    )
    display_tokens = Whole(validate=between(1), metadata=_default(_CONTEXTS.display_tokens))


class TokensSchema(StrictSchema):
    bos = fields.String(
        validate=choice(["model", "always", "never"]), metadata=_default(_TOKENS.bos)
    )
    exclude_special = Flag(metadata=_default(_TOKENS.exclude_special))
    exclude_positions = Whole(
        validate=between(0),
        metadata=_default(_TOKENS.exclude_positions)
        | {
            "description": "The first positions of every window. Where it is not sent, 1 of "
            "residual streams of models that put no token before a text."
        },
    )
    max_tokens = Whole(
        allow_none=True, validate=between(1, 10**12), metadata=_default(_TOKENS.max_tokens)
    )


_MIN_CONTEXTS = _default(_SENSES.min_contexts) | {
    "description": "Of a sense; no less than a twentieth of all."
}


class _Vectors(validate.OneOf):
    """One of VECTORS."""

    def __init__(self) -> None:
        super().__init__(VECTORS, error=choice(VECTORS).error)

    def __call__(self, value: Any) -> Any:
        if value == "neuron":
            raise ValidationError("vectors of the neuron's own are made no more: use residual")
        return super().__call__(value)


class _GroupingSchema(StrictSchema):
    """What may be chosen of the grouping of contexts."""

    same_at = Fraction(
        validate=between(0.01, 0.99),
        metadata=_default(_SENSES.same_at)
        | {
            "description": "How sure one must be, as a mean chance, that two groups of contexts "
            "mean the same before they are one sense; larger is stricter: more senses."
        },
    )
    alpha = Fraction(
        validate=between(0.001, 0.5),
        metadata={
            "description": "What `same_at` was before; smaller is stricter. Read as the `same_at` "
            "of a table.",
            "deprecated": True,
        },
    )
    min_contexts = Whole(validate=between(2, 100), metadata=_MIN_CONTEXTS)
    vectors = fields.String(
        validate=_Vectors(),
        metadata=_default(_SENSES.vectors)
        | {"description": "`residual+encoder` is another name of `residual`."},
    )

    @validates_schema
    def check_names(self, data: dict[str, Any], **_: Any) -> None:
        if "alpha" in data and "same_at" in data:
            raise ValidationError("same_at says it already: leave alpha out", "alpha")


class SensesSchema(_GroupingSchema):
    enabled = Flag(metadata=_default(_SENSES.enabled))


class WebhookSchema(StrictSchema):
    """Who is told when the job has ended."""

    url = fields.String(
        required=True,
        validate=validate.Length(min=1, max=LONGEST_URL, error=f"1 to {LONGEST_URL} characters"),
        metadata={
            "description": "https, of a public host.",
            "example": "https://example.org/polyseme",
        },
    )


LONGEST_DEADLINE_S = 366 * 24 * 3600
_DEADLINE = _default(None) | {
    "description": "Seconds from its creation; a job that has not ended by then fails with "
    "`deadline_exceeded`."
}


class RegroupSchema(_GroupingSchema):
    priority = fields.String(
        validate=choice(["low", "normal", "high"]), metadata=_default("normal")
    )
    deadline_s = Whole(allow_none=True, validate=between(1, LONGEST_DEADLINE_S), metadata=_DEADLINE)
    webhook = fields.Nested(WebhookSchema, allow_none=True, metadata=_default(None))
    metadata = Metadata(
        metadata=METADATA_SCHEMA | {"description": "Pairs of strings kept with the job."}
    )


class AnalysisSchema(StrictSchema):
    model = fields.String(
        required=True,
        validate=validate.Length(min=1, max=96, error="1 to 96 characters"),
        metadata={"description": "An id of GET /v1/models.", "example": "smollm2-135m-instruct"},
    )
    corpus = fields.Nested(CorpusRefSchema, required=True)
    neurons = fields.Nested(NeuronsSchema)
    contexts = fields.Nested(ContextsSchema)
    tokens = fields.Nested(TokensSchema)
    senses = fields.Nested(SensesSchema)
    reuse = Flag(
        metadata=_default(True)
        | {
            "description": "Layers that an earlier job scanned alike are taken over from its "
            "result. false: scan them."
        }
    )
    priority = fields.String(
        validate=choice(["low", "normal", "high"]), metadata=_default("normal")
    )
    deadline_s = Whole(allow_none=True, validate=between(1, LONGEST_DEADLINE_S), metadata=_DEADLINE)
    webhook = fields.Nested(WebhookSchema, allow_none=True, metadata=_default(None))
    metadata = Metadata(
        metadata=METADATA_SCHEMA | {"description": "Pairs of strings kept with the job."}
    )


_NO_FIELDS: Mapping[str, fields.Field] = {}


def _of_job(schema: type[Schema], without: Collection[str] = ()) -> dict[str, fields.Field]:
    """The fields of a part of a request as a job shows it: all of them, defaults filled in."""
    shown = {n: deepcopy(f) for n, f in schema().fields.items() if n not in without}
    for field in shown.values():
        field.required = True
        field.metadata = {n: v for n, v in field.metadata.items() if n != "default"}
    return shown


def _part_of_job(
    schema: type[Schema],
    without: Collection[str] = (),
    more: Mapping[str, fields.Field] = _NO_FIELDS,
    **options: Any,
) -> fields.Nested:
    """more: fields that a job shows otherwise than they were sent."""
    shown = type(f"Job{schema.__name__}", (Schema,), {**_of_job(schema, without), **more})
    return fields.Nested(shown, required=True, **options)


class JobCorpusSchema(Schema):
    id = fields.String(required=True)


JobRequestSchema = type(
    "JobRequestSchema",
    (Schema,),
    {
        **_of_job(AnalysisSchema),
        "corpus": fields.Nested(JobCorpusSchema, required=True),
        "neurons": _part_of_job(
            NeuronsSchema,
            without=("hook",),
            more={
                "dictionary": fields.List(
                    fields.String(),
                    required=True,
                    allow_none=True,
                    metadata={"description": "Ids by layer; null without."},
                )
            },
        ),
        "contexts": _part_of_job(ContextsSchema),
        "tokens": _part_of_job(TokensSchema),
        "senses": _part_of_job(SensesSchema, without=("alpha",)),
        "webhook": _part_of_job(WebhookSchema, allow_none=True),
        "source_job": fields.String(
            required=True,
            allow_none=True,
            metadata={"description": "Whose scan is grouped anew."},
        ),
    },
)


class TextsSchema(StrictSchema):
    name = fields.String(
        validate=validate.Regexp(CORPUS_NAME, error="no corpus id"),
        metadata={"pattern": CORPUS_NAME},
    )
    texts = fields.List(
        fields.String(), required=True, validate=validate.Length(min=1, error="at least one text")
    )


def to_request(data: dict[str, Any], corpus: str) -> AnalysisRequest:
    """The request after its defaults, from what `AnalysisSchema` loaded."""
    return AnalysisRequest.from_dict(data | {"corpus": {"id": corpus}})
