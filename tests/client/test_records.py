from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from marshmallow import Schema
from marshmallow import fields as marshmallow_fields

from polyseme.reading import read
from polyseme.records import (
    Activations,
    Batch,
    Corpus,
    Dictionary,
    Estimate,
    Job,
    JobOfBatch,
    Model,
    VectorSet,
)
from polyseme.reports import NeuronRow, Report
from polyseme.service.schemas.activations import ActivationsSchema
from polyseme.service.schemas.batches import JobOfBatchSchema, SubmittedBatchSchema
from polyseme.service.schemas.corpora import CorpusSchema
from polyseme.service.schemas.dictionaries import DictionarySchema
from polyseme.service.schemas.jobs import EstimateSchema, SubmittedJobSchema
from polyseme.service.schemas.models import ModelSchema
from polyseme.service.schemas.neurons import NeuronRowSchema, NeuronSchema
from polyseme.service.schemas.vectors import VectorsSchema
from tests.client.wire import grouped_report, job_state

_UNREAD = {"object", "links", "link", "webhook", "estimate", "basis", "request"}  # in `raw`


def test_an_answer_of_a_newer_service_is_read_and_kept_whole() -> None:
    data = grouped_report(invented={"later": 1})
    data["senses"][0]["also_new"] = True

    report = read(Report, data)

    assert (report.layer, report.neuron, report.stats.max) == (3, 7, 4.0)
    assert report.senses[0].share == 0.8
    assert report.contexts_of(report.senses[1]) == [report.contexts[1]]
    assert report.raw["invented"] == {"later": 1}


def test_what_an_older_service_leaves_out_has_its_default() -> None:
    job = read(Job, {"id": "job_1", "status": "running", "phase": "queued"})

    assert (job.progress.fraction, job.priority, job.has_ended) == (None, "normal", False)


def test_a_job_says_what_was_not_computed_anew() -> None:
    job = read(Job, job_state(reused={"layers": "0-3", "jobs": ["job_a", "job_b"]}))

    assert job.reused is not None
    assert (job.reused.layers, job.reused.jobs) == ("0-3", ("job_a", "job_b"))
    assert read(Job, job_state()).reused is None


def test_what_cannot_be_left_out_is_asked_for() -> None:
    with pytest.raises(ValueError, match="this Job has no id"):
        read(Job, {"status": "running", "phase": "queued"})


def test_a_record_cannot_be_changed() -> None:
    job = read(Job, job_state())
    with pytest.raises(FrozenInstanceError):
        job.status = "failed"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (Job, SubmittedJobSchema),
        (Batch, SubmittedBatchSchema),
        (JobOfBatch, JobOfBatchSchema),
        (Estimate, EstimateSchema),
        (Corpus, CorpusSchema),
        (VectorSet, VectorsSchema),
        (Model, ModelSchema),
        (Dictionary, DictionarySchema),
        (NeuronRow, NeuronRowSchema),
        (Report, NeuronSchema),
        (Activations, ActivationsSchema),
    ],
)
def test_the_records_have_the_fields_of_the_services_schemas(
    kind: type[Any], schema: type[Schema]
) -> None:
    assert missing(kind, schema()) == []


def missing(kind: type[Any], schema: Schema) -> list[str]:
    """Fields of the schema, nested ones too, that the record does not read."""
    from typing import get_args, get_type_hints

    hints, found = get_type_hints(kind), []
    for name, field in schema.fields.items():
        if name in _UNREAD:
            continue
        if name not in {f.name for f in fields(kind)}:
            found.append(f"{kind.__name__}.{name}")
            continue
        inner = field.inner if isinstance(field, marshmallow_fields.List) else field
        if isinstance(inner, marshmallow_fields.Nested):
            [record] = [
                a
                for a in (hints[name], *get_args(hints[name]))
                if hasattr(a, "__dataclass_fields__")
            ]
            found += missing(record, inner.schema)
    return found
