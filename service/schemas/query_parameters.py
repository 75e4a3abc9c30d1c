"""The query parameters of each path that takes any."""

from __future__ import annotations

from collections.abc import Sequence

from marshmallow import fields, validate

from polyseme.contract.files.column import STATUSES
from polyseme.contract.files.columns import BOUNDED, GHOST_BOUNDED, GHOST_LISTED, LISTED
from polyseme.contract.records.job import JOB_ID
from polyseme.contract.texts.formats import FORMAT_NAMES
from polyseme.service.schemas.fields import (
    QueryFlag,
    QueryNumber,
    QueryWhole,
    StrictSchema,
    between,
    choice,
)
from polyseme.service.schemas.requests import CORPUS_NAME, JOB_STATUSES

_RANGES = r"^[0-9]{1,7}(-[0-9]{1,7})?(,[0-9]{1,7}(-[0-9]{1,7})?)*$"
_PAIR = r"^[^=]{1,64}=[^\n]{0,512}$"
_FOREIGN_ID = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,95}$"


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
    metadata = fields.String(
        validate=validate.Regexp(_PAIR.replace("$", r"\Z"), error="expected name=value"),
        metadata={
            "description": "Only jobs whose metadata has this pair.",
            "example": "name=first try",
            "pattern": _PAIR,
        },
    )
    limit = QueryWhole(load_default=50, validate=between(1, 200))
    cursor = fields.String()


class SummaryQuery(StrictSchema):
    beside = fields.String(
        validate=validate.Regexp(rf"{JOB_ID.pattern}\Z", error="no job id: job_ and 28 hex digits"),
        metadata={
            "description": "Another job over the same text: both results beside each other, "
            "instead of the summary.",
            "pattern": f"^{JOB_ID.pattern}$",
        },
    )


class _RowsQuery(StrictSchema):
    """A list of a result's rows."""

    layer = fields.String(
        metadata={
            "description": "Ranges such as `0-3,14`.",
            "example": "0-3,14",
            "pattern": _RANGES,
        }
    )
    status = fields.String(validate=choice(STATUSES))
    negative_status = fields.String(validate=choice(STATUSES))
    limit = QueryWhole(load_default=100, validate=between(1, 1000))
    cursor = fields.String()


class _NeuronsQuery(_RowsQuery):
    neuron = fields.String(metadata={"description": "Ranges, likewise.", "pattern": _RANGES})
    token = fields.String(
        validate=validate.Length(min=1, max=200),
        metadata={
            "description": "Only neurons that peak on this token; space around it does not count."
        },
    )
    meaning = fields.String(
        validate=validate.Length(min=1, max=200),
        metadata={
            "description": "Only neurons whose sentence, of either tail, has this text in it, in "
            "capitals or not.",
            "example": "prepositions",
        },
    )


def _of_columns(
    name: str, base: type[StrictSchema], listed: Sequence[str], bounded: Sequence[str], example: str
) -> type[StrictSchema]:
    """The list's query with its columns to sort by and to answer, and a pair of bounds a column, so
    that the documentation has each.
    """
    column = f"({'|'.join(listed)})"
    sort = fields.String(
        metadata={
            "description": "Columns, comma-separated, `-` before one for descending.",
            "example": "-max",
            "pattern": f"^-?{column}(,-?{column})*$",
        }
    )
    fields_ = fields.String(
        data_key="fields",
        metadata={
            "description": "Columns to answer, comma-separated.",
            "example": example,
            "pattern": f"^{column}(,{column})*$",
        },
    )
    bounds = {
        f"{end}_{name}": QueryNumber(metadata={"description": f"Only {name} {sign} this."})
        for name in bounded
        for end, sign in (("min", ">="), ("max", "<="))
    }
    return type(name, (base,), {"sort": sort, "fields_": fields_, **bounds})


NeuronsQuery = _of_columns("NeuronsQuery", _NeuronsQuery, LISTED, BOUNDED, "layer,neuron,max")
ControlsQuery = _of_columns(
    "ControlsQuery", _RowsQuery, GHOST_LISTED, GHOST_BOUNDED, "layer,ghost,polysemanticity"
)


class TreeQuery(StrictSchema):
    tail = fields.String(load_default="positive", validate=choice(["positive", "negative"]))


def _foreign_id(**metadata: str) -> fields.String:
    """An id of Neuronpedia's."""
    return fields.String(
        validate=validate.Regexp(
            _FOREIGN_ID.replace("$", r"\Z"), error="letters, digits, '_', '-' and '.'; at most 96"
        ),
        metadata={**metadata, "pattern": _FOREIGN_ID},
    )


class ExportQuery(StrictSchema):
    format = fields.String(required=True, validate=choice(["parquet", "ndjson", "neuronpedia"]))
    layer = fields.String(metadata={"description": "Ranges such as `0-3,14`.", "pattern": _RANGES})
    file = fields.String(
        validate=choice(["neurons", "ghosts", "tokens", "reports"]),
        metadata={
            "description": "One Parquet file instead of a zip of all: `ghosts` has the control "
            "units, `reports` goes with one `layer`. With `format=ndjson` only `ghosts`: a control "
            "unit a line."
        },
    )
    model_id = _foreign_id(
        description="What Neuronpedia calls the model; with `format=neuronpedia`. By default as "
        "here.",
        example="gpt2-small",
    )
    creator_id = _foreign_id(
        description="The id of the importing Neuronpedia's user to whom it belongs; with "
        "`format=neuronpedia`.",
        default="polyseme",
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
    language_field = fields.String(
        validate=validate.Length(min=1, max=200),
        metadata={
            "description": "The field of JSON, or the column, that names a document's language, "
            "such as `de` or `German`, in at most 64 characters; null, blank or missing for none. "
            "The senses of neurons say it of their contexts. Not for plain text."
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
