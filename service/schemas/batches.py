"""Batches: what clients may send, and the shape of the answers, which are built by hand in
`service/jobs/submit_batches.py`.
"""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from polyseme.service.schemas.fields import (
    METADATA_SCHEMA,
    Flag,
    Metadata,
    QueryFlag,
    QueryWhole,
    StrictSchema,
    between,
)
from polyseme.service.schemas.jobs import EXAMPLE_JOB, DeliverySchema, NotedSchema
from polyseme.service.schemas.requests import JOB_STATUSES, AnalysisSchema, WebhookSchema

BATCH_EVENT = "batch.ended"
EXAMPLE_BATCH = "bat_0199c2d3a1b24f6c8e1d5a7b9c3d"

_ATOMIC = {
    "default": True,
    "description": "Whether one entry that is refused refuses all. If false, the others are "
    "submitted.",
}
_STATUS = validate.OneOf(["running", "cancelling", "ended"])


class BatchRequestSchema(StrictSchema):
    """For the documentation."""

    jobs = fields.List(
        fields.Nested(AnalysisSchema), required=True, validate=validate.Length(min=1)
    )
    atomic = Flag(metadata=_ATOMIC)
    webhook = fields.Nested(WebhookSchema, allow_none=True, metadata={"default": None})
    metadata = Metadata(
        metadata=METADATA_SCHEMA | {"description": "Pairs of strings kept with the batch."}
    )


class EnvelopeSchema(BatchRequestSchema):
    """What is read: each entry is judged by itself."""

    jobs = fields.List(fields.Raw(allow_none=True), required=True)


class SubmitBatchQuery(StrictSchema):
    atomic = QueryFlag(
        metadata=_ATOMIC | {"description": f"With JSON lines only. {_ATOMIC['description']}"}
    )
    webhook = fields.String(
        validate=validate.Length(min=1),
        metadata={
            "description": "With JSON lines only: the URL that is told when the batch has ended."
        },
    )


class BatchesQuery(StrictSchema):
    limit = QueryWhole(load_default=50, validate=between(1, 200))
    cursor = fields.String()


class DeleteBatchQuery(StrictSchema):
    with_jobs = QueryFlag(
        load_default=False,
        metadata={"description": "Delete its jobs and their results too.", "default": False},
    )


class CountsSchema(Schema):
    jobs = fields.Integer(
        required=True, metadata={"description": "All of them: the sum of the statuses."}
    )
    queued = fields.Integer(required=True)
    running = fields.Integer(required=True)
    cancelling = fields.Integer(required=True)
    succeeded = fields.Integer(required=True)
    failed = fields.Integer(required=True)
    cancelled = fields.Integer(required=True)
    refused = fields.Integer(
        required=True, metadata={"description": "Entries that no job was made of."}
    )


class EntryErrorSchema(Schema):
    pointer = fields.String(
        required=True, metadata={"description": "Into the request: `/jobs/3/contexts/top_k`."}
    )
    detail = fields.String(required=True)


class EntryProblemSchema(Schema):
    status = fields.Integer(
        required=True, metadata={"description": "That a single submit would have answered."}
    )
    code = fields.String(required=True)
    detail = fields.String(required=True)
    errors = fields.List(fields.Nested(EntryErrorSchema), required=True)


class EntrySchema(Schema):
    index = fields.Integer(
        required=True, metadata={"description": "Of the entry in the request, from 0."}
    )
    job = fields.String(required=True, allow_none=True, metadata={"example": EXAMPLE_JOB})
    status = fields.String(
        required=True,
        allow_none=True,
        validate=validate.OneOf([*JOB_STATUSES, None]),
        metadata={"description": "Of the job; its last one also when it is deleted."},
    )
    problem = fields.Nested(EntryProblemSchema, required=True, allow_none=True)
    link = fields.String(
        required=True, allow_none=True, metadata={"description": "The path of the job."}
    )


class BatchLinksSchema(Schema):
    self = fields.String(required=True)
    jobs = fields.String(required=True)
    summaries = fields.String(required=True)
    cancel = fields.String(required=True)


class BatchSummariesQuery(StrictSchema):
    limit = QueryWhole(load_default=20, validate=between(1, 100))
    cursor = fields.String()


class ExampleSchema(Schema):
    layer = fields.Integer(required=True)
    neuron = fields.Integer(required=True)
    status = fields.String(required=True)
    selectivity = fields.Float(required=True, allow_none=True)
    meaning = fields.String(required=True, allow_none=True)


class FoundSchema(Schema):
    """The part of a job's summary that tells of meaning."""

    neurons = fields.Integer(required=True)
    statuses = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    notes = fields.List(fields.String(), required=True)
    warnings = fields.List(fields.String(), required=True)
    examples = fields.List(
        fields.Nested(ExampleSchema),
        required=True,
        metadata={"description": "The most selective of those of which something is claimed."},
    )


class JobOfBatchSchema(Schema):
    index = fields.Integer(
        required=True, metadata={"description": "Of the entry in the request, from 0."}
    )
    job = fields.String(required=True, metadata={"example": EXAMPLE_JOB})
    status = fields.String(
        required=True, allow_none=True, validate=validate.OneOf([*JOB_STATUSES, None])
    )
    model = fields.String(required=True, allow_none=True)
    corpus = fields.String(required=True, allow_none=True)
    metadata = fields.Raw(required=True, metadata=METADATA_SCHEMA | {"description": "Of the job."})
    summary = fields.Nested(
        FoundSchema,
        required=True,
        allow_none=True,
        metadata={"description": "Null without a result."},
    )
    problem = fields.Nested(
        EntryProblemSchema,
        required=True,
        allow_none=True,
        metadata={"description": "Why the summary of a job that succeeded cannot be read."},
    )
    link = fields.String(required=True, metadata={"description": "The path of the job."})


class BatchSummariesSchema(Schema):
    object = fields.String(required=True, validate=validate.OneOf(["list"]))
    data = fields.List(fields.Nested(JobOfBatchSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class BatchSummarySchema(Schema):
    id = fields.String(required=True, metadata={"example": EXAMPLE_BATCH})
    object = fields.String(required=True, validate=validate.OneOf(["batch"]))
    status = fields.String(
        required=True,
        validate=_STATUS,
        metadata={
            "description": "`ended` once every job has: `counts` tells how. It changes no more "
            "then."
        },
    )
    revision = fields.Integer(
        required=True,
        metadata={"description": "Grows with every change of it or of one of its jobs."},
    )
    atomic = fields.Boolean(required=True)
    created_at = fields.DateTime(required=True)
    finished_at = fields.DateTime(required=True, allow_none=True)
    expires_at = fields.DateTime(required=True, allow_none=True)
    counts = fields.Nested(CountsSchema, required=True)
    fraction = fields.Float(
        required=True,
        metadata={
            "minimum": 0,
            "maximum": 1,
            "description": "Mean over the jobs; one that has ended counts whole.",
        },
    )
    metadata = fields.Raw(required=True, metadata=METADATA_SCHEMA)
    webhook = fields.Nested(DeliverySchema, required=True, allow_none=True)
    links = fields.Nested(BatchLinksSchema, required=True)


class BatchSchema(BatchSummarySchema):
    entries = fields.List(
        fields.Nested(EntrySchema), required=True, metadata={"description": "By index."}
    )


class SubmittedEntrySchema(NotedSchema, EntrySchema):
    """What became of an entry, in the answer to the request that made the batch."""


class SubmittedBatchSchema(BatchSchema):
    """A batch, in the answer to the request that made it."""

    entries = fields.List(
        fields.Nested(SubmittedEntrySchema),
        required=True,
        metadata={"description": "By index."},
    )


class EndedBatchSchema(BatchSchema):
    """A batch in an event: as GET gives it, without what changes with the delivery of the event."""

    class Meta:
        exclude = ("revision", "webhook")


class BatchEventSchema(Schema):
    type = fields.String(required=True, validate=validate.OneOf([BATCH_EVENT]))
    timestamp = fields.DateTime(required=True, metadata={"description": "When the batch ended."})
    data = fields.Nested(EndedBatchSchema, required=True)


class BatchListSchema(Schema):
    object = fields.String(required=True, validate=validate.OneOf(["list"]))
    data = fields.List(fields.Nested(BatchSummarySchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
