"""What clients may send: an analysis request, a corpus, and the query parameters of each list."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from polyseme.contract.files.columns import BOUNDED, LISTED, STATUSES
from polyseme.contract.records.job import CORPUS_ID
from polyseme.contract.records.request import AnalysisRequest, Contexts, Neurons, Senses, Tokens
from polyseme.contract.texts.formats import FORMAT_NAMES
from polyseme.service.outbound.addresses import LONGEST_URL
from polyseme.service.schemas.fields import (
    METADATA_SCHEMA,
    SELECTION_SCHEMA,
    Flag,
    Fraction,
    Metadata,
    QueryFlag,
    QueryNumber,
    QueryWhole,
    Selected,
    StrictSchema,
    Whole,
    between,
    choice,
)

VECTORS = ("residual", "residual+encoder", "window", "neuron")
# Those that a finished job can be grouped by anew.
STORED_VECTORS = ("residual", "residual+encoder", "window")
JOB_STATUSES = ("queued", "running", "succeeded", "failed", "cancelling", "cancelled")

CORPUS_NAME = rf"^{CORPUS_ID.pattern}$"
_RANGES = r"^[0-9]{1,7}(-[0-9]{1,7})?(,[0-9]{1,7}(-[0-9]{1,7})?)*$"
_FOREIGN_ID = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,95}$"
_COLUMN = f"({'|'.join(LISTED)})"

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
    layers = Selected(metadata=SELECTION_SCHEMA | _default("all"))
    indices = Selected(metadata=SELECTION_SCHEMA | _default("all"))


class ContextsSchema(StrictSchema):
    top_k = Whole(validate=between(1), metadata=_default(_CONTEXTS.top_k))
    sampled = Whole(
        validate=between(0, 1000),
        metadata=_default(_CONTEXTS.sampled) | {"description": "A multiple of `bands`."},
    )
    sampling = fields.String(
        validate=choice(["interval", "quantile"]), metadata=_default(_CONTEXTS.sampling)
    )
    bands = Whole(validate=between(1, 20), metadata=_default(_CONTEXTS.bands))
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
    tails = fields.String(validate=choice(["positive", "both"]), metadata=_default(_CONTEXTS.tails))
    near_duplicates = fields.String(
        validate=choice(["drop", "keep"]), metadata=_default(_CONTEXTS.near_duplicates)
    )
    display_tokens = Whole(validate=between(1), metadata=_default(_CONTEXTS.display_tokens))


class TokensSchema(StrictSchema):
    bos = fields.String(
        validate=choice(["model", "always", "never"]), metadata=_default(_TOKENS.bos)
    )
    exclude_special = Flag(metadata=_default(_TOKENS.exclude_special))
    exclude_positions = Whole(validate=between(0), metadata=_default(_TOKENS.exclude_positions))
    max_tokens = Whole(
        allow_none=True, validate=between(1, 10**12), metadata=_default(_TOKENS.max_tokens)
    )


_ALPHA = _default(_SENSES.alpha) | {
    "description": "How near two groups of contexts must be to be one sense; larger is more "
    "lenient."
}
_MIN_CONTEXTS = _default(_SENSES.min_contexts) | {
    "description": "Of a sense; no less than a twentieth of all."
}


class SensesSchema(StrictSchema):
    enabled = Flag(metadata=_default(_SENSES.enabled))
    alpha = Fraction(validate=between(0.001, 0.5), metadata=_ALPHA)
    min_contexts = Whole(validate=between(2, 100), metadata=_MIN_CONTEXTS)
    vectors = fields.String(validate=choice(VECTORS), metadata=_default(_SENSES.vectors))


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


class RegroupSchema(StrictSchema):
    alpha = Fraction(validate=between(0.001, 0.5), metadata=_ALPHA)
    min_contexts = Whole(validate=between(2, 100), metadata=_MIN_CONTEXTS)
    vectors = fields.String(
        validate=choice(STORED_VECTORS),
        metadata=_default(_SENSES.vectors)
        | {"description": "`neuron` needs the model again: submit a new job."},
    )
    priority = fields.String(
        validate=choice(["low", "normal", "high"]), metadata=_default("normal")
    )
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
    webhook = fields.Nested(WebhookSchema, allow_none=True, metadata=_default(None))
    metadata = Metadata(
        metadata=METADATA_SCHEMA | {"description": "Pairs of strings kept with the job."}
    )


class TextsSchema(StrictSchema):
    name = fields.String(
        validate=validate.Regexp(CORPUS_NAME, error="no corpus id"),
        metadata={"pattern": CORPUS_NAME},
    )
    texts = fields.List(
        fields.String(), required=True, validate=validate.Length(min=1, error="at least one text")
    )


class SubmitQuery(StrictSchema):
    dry_run = QueryFlag(
        load_default=False, metadata={"description": "Answer an estimate, and run nothing."}
    )


class JobsQuery(StrictSchema):
    status = fields.String(validate=choice(JOB_STATUSES))
    model = fields.String(validate=validate.Length(min=1, max=96))
    corpus = fields.String(validate=validate.Length(min=1, max=64))
    batch = fields.String(
        validate=validate.Length(min=1, max=64),
        metadata={"description": "Only jobs of this batch."},
    )
    limit = QueryWhole(load_default=50, validate=between(1, 200))
    cursor = fields.String()


class _NeuronsQuery(StrictSchema):
    layer = fields.String(
        metadata={
            "description": "Ranges such as `0-3,14`.",
            "example": "0-3,14",
            "pattern": _RANGES,
        }
    )
    neuron = fields.String(metadata={"description": "Ranges, likewise.", "pattern": _RANGES})
    status = fields.String(validate=choice(STATUSES))
    negative_status = fields.String(validate=choice(STATUSES))
    token = fields.String(
        validate=validate.Length(min=1, max=200),
        metadata={
            "description": "Only neurons that peak on this token; space around it does not count."
        },
    )
    sort = fields.String(
        metadata={
            "description": "Columns, comma-separated, `-` before one for descending.",
            "example": "-max",
            "pattern": f"^-?{_COLUMN}(,-?{_COLUMN})*$",
        }
    )
    fields_ = fields.String(
        data_key="fields",
        metadata={
            "description": "Columns to answer, comma-separated.",
            "example": "layer,neuron,max",
            "pattern": f"^{_COLUMN}(,{_COLUMN})*$",
        },
    )
    limit = QueryWhole(load_default=100, validate=between(1, 1000))
    cursor = fields.String()


# One pair of bounds a column, so that the documentation lists each.
NeuronsQuery: type[StrictSchema] = type(
    "NeuronsQuery",
    (_NeuronsQuery,),
    {
        f"{end}_{name}": QueryNumber(metadata={"description": f"Only {name} {sign} this."})
        for name in BOUNDED
        for end, sign in (("min", ">="), ("max", "<="))
    },
)


class TreeQuery(StrictSchema):
    tail = fields.String(load_default="positive", validate=choice(["positive", "negative"]))


class ExportQuery(StrictSchema):
    format = fields.String(required=True, validate=choice(["parquet", "ndjson", "neuronpedia"]))
    layer = fields.String(metadata={"description": "Ranges such as `0-3,14`.", "pattern": _RANGES})
    file = fields.String(
        validate=choice(["neurons", "tokens", "reports"]),
        metadata={
            "description": "One Parquet file instead of a zip of all; `reports` with one `layer`."
        },
    )
    model_id = fields.String(
        validate=validate.Regexp(
            _FOREIGN_ID.replace("$", r"\Z"), error="letters, digits, '_', '-' and '.'; at most 96"
        ),
        metadata={
            "description": "What Neuronpedia calls the model; with `format=neuronpedia`. By "
            "default as here.",
            "example": "gpt2-small",
            "pattern": _FOREIGN_ID,
        },
    )
    creator_id = fields.String(
        validate=validate.Regexp(
            _FOREIGN_ID.replace("$", r"\Z"), error="letters, digits, '_', '-' and '.'; at most 96"
        ),
        metadata={
            "description": "The id of the importing Neuronpedia's user to whom it belongs; with "
            "`format=neuronpedia`.",
            "default": "polyseme",
            "pattern": _FOREIGN_ID,
        },
    )


class UploadQuery(StrictSchema):
    name = fields.String(
        validate=validate.Regexp(
            CORPUS_NAME, error="no corpus id: lower case letters, digits, '_', '-', '.'"
        ),
        metadata={
            "description": "The corpus' id; otherwise it comes from the content.",
            "pattern": CORPUS_NAME,
        },
    )
    sample_by = fields.String(
        validate=choice(["line", "paragraph", "document"]),
        metadata={"description": "What a document is in plain text.", "default": "line"},
    )
    field = fields.String(
        validate=validate.Length(min=1, max=200),
        metadata={
            "description": "The field of JSON, or the column, that holds a document's text: `text` "
            "where nothing else is said, but for CSV and TSV, which need it."
        },
    )
    format = fields.String(
        validate=choice(list(FORMAT_NAMES)),
        metadata={
            "description": "What the content is, as it is unpacked; otherwise what is inside "
            "decides. One that contradicts the content is refused."
        },
    )
    filename = fields.String(
        validate=validate.Length(min=1, max=255),
        metadata={
            "description": "The file's name: its ending counts where what is inside leaves a "
            "choice, as between plain text and CSV."
        },
    )
    on_bad_line = fields.String(
        validate=choice(["error", "skip"]),
        metadata={
            "description": "What to do with a line, element or row that is no document, as one "
            "whose text is null: refuse the upload, or skip and count it.",
            "default": "error",
        },
    )


class CorporaQuery(StrictSchema):
    limit = QueryWhole(load_default=100, validate=between(1, 1000))
    cursor = fields.String()


def to_request(data: dict[str, Any], corpus: str) -> AnalysisRequest:
    """The request after its defaults, from what `AnalysisSchema` loaded."""
    return AnalysisRequest.from_dict(data | {"corpus": {"id": corpus}})
