"""/v1/activations: a text through a finished job's model, read against the senses of its
neurons.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, request

from polyseme.contract.records.job import Job
from polyseme.service.context import end_large_body, services
from polyseme.service.http.answers import answer_json
from polyseme.service.http.blueprint import (
    ETAG,
    LOCATION,
    RETRY_AFTER,
    Blueprint,
    header,
    problems,
    takes,
)
from polyseme.service.http.headers import matches_tag, read_wait
from polyseme.service.jobs.live_checks import check_to_dict, delete_check, find_check, submit_check
from polyseme.service.jobs.show import etag, job_headers
from polyseme.service.schemas.activations import ActivationsRequestSchema, ActivationsSchema
from polyseme.service.schemas.jobs import EXAMPLE_JOB

blueprint = Blueprint(
    "activations",
    __name__,
    url_prefix="/v1/activations",
    description="A text, read against a finished job's senses.",
)

_PREFER = header(
    "Prefer",
    "`wait=N`: answer when it has ended, or after N seconds, at most 30.",
    example="wait=10",
)
_NONE_MATCH = header("If-None-Match", "The ETag at hand: 304 while it still holds.")
_APPLIED = {"description": "The wait that was granted.", "schema": {"type": "string"}}
_HEADERS = {"ETag": ETAG, "Retry-After": RETRY_AFTER, "Preference-Applied": _APPLIED}
_SUBMITTED = _HEADERS | {"Location": LOCATION}

EXAMPLE = {
    "job": EXAMPLE_JOB,
    "text": "In May the court may rule on it.",
    "neurons": [{"layer": 3, "neuron": 17}],
}


@blueprint.route("", methods=["POST"])
@blueprint.arguments(ActivationsRequestSchema, location="json", example=EXAMPLE)
@takes(_PREFER)
@blueprint.doc(operationId="submitActivations")
@blueprint.response(
    202, ActivationsSchema, description="Accepted; it goes before jobs.", headers=_SUBMITTED
)
@blueprint.alt_response(
    200,
    schema=ActivationsSchema,
    description="It ended within `Prefer: wait`.",
    headers=_SUBMITTED,
    success=True,
)
@problems(
    {
        400: "broken JSON, or a bad Prefer",
        404: "no such job",
        409: "the job has not succeeded",
        410: "the job's result is no longer there",
        413: "the body is too long",
        415: "the body is not application/json",
        422: "a value is not allowed; each has its pointer",
        429: "too many jobs have not ended, or a quota of the tenant's is used up",
    }
)
def submit(body: Mapping[str, Any]) -> Response:
    """Run a text through a job's model

    Answers each neuron's activations, its peaks with the nearest sense of each, and where two
    senses both fire.
    """
    here, seconds = services(), read_wait(request.headers)
    check = submit_check(here, body)
    end_large_body()
    check, waited = here.waits.wait(check, _is_over, seconds)
    headers = _headers(check, seconds, waited) | {
        "Location": f"{here.base}/v1/activations/{check.id}"
    }
    return answer_json(
        check_to_dict(here, check), 200 if seconds and check.is_terminal else 202, headers
    )


@blueprint.route("/<check:check_id>", methods=["GET"])
@takes(_NONE_MATCH, _PREFER)
@blueprint.doc(operationId="getActivations")
@blueprint.response(200, ActivationsSchema, headers=_HEADERS)
@blueprint.alt_response(
    304, description="As it was.", headers={"ETag": ETAG, "Retry-After": RETRY_AFTER}
)
@problems({400: "a bad Prefer", 404: "no such live check", 410: "its result is no longer there"})
def get_one(check_id: str) -> Response:
    """Read a live check

    With `Prefer: wait=N`, the answer comes when it has ended.
    """
    here, seconds = services(), read_wait(request.headers)
    check, waited = here.waits.wait(find_check(here, check_id), _is_over, seconds)
    headers = _headers(check, seconds, waited)
    if matches_tag(request.headers, etag(check)):
        return Response(status=304, headers=headers)
    return answer_json(check_to_dict(here, check), headers=headers)


@blueprint.route("/<check:check_id>", methods=["DELETE"])
@blueprint.doc(operationId="deleteActivations")
@blueprint.response(204, description="The live check and its result are gone.")
@problems({404: "no such live check", 409: "it has not ended", 410: "it has expired"})
def delete(check_id: str) -> Response:
    """Delete a live check that has ended"""
    delete_check(services(), check_id)
    return Response(status=204)


def _is_over(check: Job) -> bool:
    return check.is_terminal


def _headers(check: Job, seconds: int, waited: bool) -> dict[str, str]:
    return job_headers(check) | ({"Preference-Applied": f"wait={seconds}"} if waited else {})
