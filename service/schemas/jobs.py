"""The shape of a job, for the documentation: answers are built by hand, in
`service/jobs/submit.py`.
"""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from polyseme.service.schemas.fields import METADATA_SCHEMA
from polyseme.service.schemas.requests import JOB_STATUSES, JobRequestSchema

EVENTS = ("job.succeeded", "job.failed", "job.cancelled")
EXAMPLE_JOB = "job_0199c2d3a1b24f6c8e1d5a7b9c3d"


class AnyObject(fields.Dict):
    """An object whose fields are not listed here."""


class DoneSchema(Schema):
    done = fields.Integer(required=True)
    total = fields.Integer(
        required=True, allow_none=True, metadata={"description": "null until planned"}
    )


class ProgressSchema(Schema):
    unit = fields.String(required=True, validate=validate.OneOf(["tokens"]))
    total = fields.Integer(required=True, allow_none=True)
    done = fields.Integer(required=True)
    shards = fields.Nested(DoneSchema, required=True)
    layers = fields.Nested(DoneSchema, required=True)
    tokens_done = fields.Integer(required=True)
    tokens_total = fields.Integer(
        required=True, allow_none=True, metadata={"description": "null until planned"}
    )
    tokens_per_second = fields.Float(required=True, allow_none=True)
    fraction = fields.Float(required=True, allow_none=True, metadata={"minimum": 0, "maximum": 1})
    eta_seconds = fields.Float(
        required=True,
        allow_none=True,
        metadata={
            "description": "Until the phase ends, for scanning and merging; null when it cannot "
            "be told, and in others."
        },
    )


class JobErrorSchema(Schema):
    code = fields.String(required=True)
    detail = fields.String(required=True)


class DeliverySchema(Schema):
    url = fields.String(required=True)
    state = fields.String(
        required=True,
        validate=validate.OneOf(["waiting", "pending", "delivered", "failed"]),
        metadata={
            "description": "waiting: the job has not ended; failed: no further attempt is made."
        },
    )
    attempts = fields.Integer(required=True)
    last_status = fields.Integer(
        required=True, allow_none=True, metadata={"description": "Of the last answer."}
    )
    last_error = fields.String(
        required=True, allow_none=True, metadata={"description": "Why the last attempt failed."}
    )
    next_attempt_at = fields.DateTime(required=True, allow_none=True)


class JobLinksSchema(Schema):
    self = fields.String(required=True)
    neurons = fields.String(required=True)
    senses = fields.String(required=True, metadata={"description": "POST: make the senses anew."})
    summary = fields.String(required=True)
    export = fields.String(required=True)
    cancel = fields.String(required=True)


class ReusedSchema(Schema):
    """What was taken over from results of other jobs, and not scanned."""

    layers = fields.String(required=True, metadata={"example": "0-3,14"})
    jobs = fields.List(
        fields.String(), required=True, metadata={"description": "They may be deleted by now."}
    )


class JobSchema(Schema):
    id = fields.String(required=True, metadata={"example": EXAMPLE_JOB})
    object = fields.String(required=True, validate=validate.OneOf(["job"]))
    status = fields.String(required=True, validate=validate.OneOf(JOB_STATUSES))
    phase = fields.String(
        required=True,
        validate=validate.OneOf(
            ["queued", "planning", "scanning", "calibrating", "merging", "closing", "ended"]
        ),
    )
    revision = fields.Integer(required=True, metadata={"description": "Grows with every change."})
    priority = fields.String(required=True, validate=validate.OneOf(["low", "normal", "high"]))
    queue = fields.String(
        required=True, metadata={"description": "Whose workers run it: the model's queue."}
    )
    warning = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "What holds it up: that no worker serves its queue at the moment, or "
            "that the store is away."
        },
    )
    batch = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "That it was submitted in, until that is deleted."},
    )
    created_at = fields.DateTime(required=True)
    started_at = fields.DateTime(required=True, allow_none=True)
    finished_at = fields.DateTime(required=True, allow_none=True)
    expires_at = fields.DateTime(required=True, allow_none=True)
    request = fields.Nested(
        JobRequestSchema,
        required=True,
        metadata={"description": "As sent, with every default filled in."},
    )
    progress = fields.Nested(ProgressSchema, required=True)
    reused = fields.Nested(
        ReusedSchema,
        required=True,
        allow_none=True,
        metadata={"description": "null: nothing, or not planned yet"},
    )
    error = fields.Nested(JobErrorSchema, required=True, allow_none=True)
    metadata = fields.Raw(required=True, metadata=METADATA_SCHEMA)
    webhook = fields.Nested(DeliverySchema, required=True, allow_none=True)
    links = fields.Nested(JobLinksSchema, required=True)


class NoteSchema(Schema):
    """What the result will lack, and what lifts it."""

    code = fields.String(required=True, metadata={"example": "too_few_windows"})
    message = fields.String(required=True)
    pointer = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Into the request: what may be changed."},
    )


class NotedSchema(Schema):
    """What an answer to a submit has besides."""

    notes = fields.List(
        fields.Nested(NoteSchema),
        required=True,
        metadata={"description": "On the request; of a repeated one none."},
    )


class SubmittedJobSchema(NotedSchema, JobSchema):
    """A job, in the answer to the request that made it."""


class EndedJobSchema(JobSchema):
    """A job in an event: as GET gives it, without what changes with the delivery of the event."""

    class Meta:
        exclude = ("revision", "webhook")


class JobEventSchema(Schema):
    type = fields.String(required=True, validate=validate.OneOf(EVENTS))
    timestamp = fields.DateTime(required=True, metadata={"description": "When the job ended."})
    data = fields.Nested(EndedJobSchema, required=True)


class JobListSchema(Schema):
    object = fields.String(required=True, validate=validate.OneOf(["list"]))
    data = fields.List(fields.Nested(JobSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class BasisSchema(Schema):
    documents = fields.Integer(required=True)
    characters = fields.Integer(required=True)
    characters_per_token = fields.Float(required=True)
    tokens_from = fields.String(
        required=True,
        validate=validate.OneOf(["planned", "corpus", "measured", "assumed"]),
        metadata={
            "description": "planned: counted, when a job cut this corpus alike; corpus: by the "
            "tokens of another job on it; measured: by those of another corpus with this model."
        },
    )
    tokens_per_second = fields.Float(
        required=True,
        allow_none=True,
        metadata={
            "description": "One worker's, of what comes before the merges, when all neurons were "
            "last scanned on enough text; null before."
        },
    )
    neurons_per_second = fields.Float(
        required=True, allow_none=True, metadata={"description": "Of the merges, likewise."}
    )
    depth = fields.Float(required=True, metadata={"description": "Share of the layers that run."})


class EstimateSchema(Schema):
    object = fields.String(required=True, validate=validate.OneOf(["estimate"]))
    estimate = fields.Boolean(
        required=True, metadata={"description": "Always true: nothing was run."}
    )
    tokens = fields.Integer(required=True)
    windows = fields.Integer(required=True)
    neurons = fields.Integer(required=True)
    layers = fields.Integer(required=True)
    memory_bytes = fields.Integer(
        required=True,
        metadata={"description": "Of a worker's running statistics, without the model's weights."},
    )
    seconds = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "On one worker, once it begins, merges included."},
    )
    notes = fields.List(fields.Nested(NoteSchema), required=True)
    basis = fields.Nested(BasisSchema, required=True)
