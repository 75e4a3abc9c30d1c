"""/v1/jobs/{id}/senses: grouping a finished job's contexts anew, without its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, request

from polyseme.service.context import services
from polyseme.service.http.answers import answer_json
from polyseme.service.http.blueprint import Blueprint, problems, takes
from polyseme.service.http.headers import read_idempotency_key
from polyseme.service.jobs.deprecated import deprecation_headers
from polyseme.service.jobs.notes import notes_of_senses
from polyseme.service.jobs.regrouping import submit_regrouping
from polyseme.service.jobs.show import job_headers, show_submitted
from polyseme.service.routes.jobs import KEY, SUBMITTED
from polyseme.service.schemas.jobs import SubmittedJobSchema
from polyseme.service.schemas.requests import RegroupSchema

blueprint = Blueprint(
    "senses", __name__, url_prefix="/v1/jobs", description="Senses made anew from a finished scan."
)


@blueprint.route("/<job:job_id>/senses", methods=["POST"])
@blueprint.arguments(RegroupSchema, location="json", example={"same_at": 0.5})
@takes(KEY)
@blueprint.doc(operationId="regroupJob")
@blueprint.response(
    202, SubmittedJobSchema, description="A new job, whose result is whole.", headers=SUBMITTED
)
@problems(
    {
        400: "broken JSON, or a bad Idempotency-Key",
        404: "no such job",
        409: "the job has not succeeded, or has no senses",
        410: "the job of this Idempotency-Key was deleted",
        415: "the body is not application/json",
        422: "a value is not allowed; each has its pointer",
        429: "too many jobs have not ended, or a quota of the tenant's is used up",
    }
)
def regroup(body: Mapping[str, Any], job_id: str) -> Response:
    """Make the senses of a finished job anew

    With another `same_at`, smallest sense or kind of vector. It takes seconds and no GPU.
    """
    here = services()
    job, replayed = submit_regrouping(here, job_id, body, read_idempotency_key(request.headers))
    headers = job_headers(job) | {"Location": f"{here.base}/v1/jobs/{job.id}"}
    headers |= {"Idempotency-Replayed": "true"} if replayed else {}
    headers |= deprecation_headers(body)
    return answer_json(show_submitted(here, job, notes_of_senses(body)), 202, headers)
