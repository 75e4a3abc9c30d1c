"""/v1/jobs: submitting, polling, listing, cancelling, deleting."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Response, request

from polyseme.contract.records.job import Job
from polyseme.service.context import Services, end_large_body, services
from polyseme.service.http.answers import answer_json, answer_page
from polyseme.service.http.blueprint import (
    DEPRECATION,
    ETAG,
    LINK,
    LOCATION,
    RETRY_AFTER,
    Blueprint,
    header,
    problems,
    takes,
)
from polyseme.service.http.headers import KEY_PATTERN, matches_tag, read_idempotency_key, read_wait
from polyseme.service.jobs.deprecated import deprecation_headers
from polyseme.service.jobs.find_and_end import cancel_job, delete_job, find_job
from polyseme.service.jobs.show import (
    etag,
    job_headers,
    make_tag,
    show_job,
    show_jobs,
    show_submitted,
    state_headers,
)
from polyseme.service.jobs.submit import check_job, note_requests, submit_job
from polyseme.service.jobs.submit_batches import list_jobs_of
from polyseme.service.schemas.jobs import (
    EstimateSchema,
    JobListSchema,
    JobSchema,
    SubmittedJobSchema,
)
from polyseme.service.schemas.query_parameters import JobsQuery, SubmitQuery
from polyseme.service.schemas.requests import AnalysisSchema

blueprint = Blueprint(
    "jobs",
    __name__,
    url_prefix="/v1/jobs",
    description="An analysis: submitted once, polled, then read.",
)

_FRESH_S = 60.0  # after its end a job counts as just finished
_SCANNED = 2000  # jobs looked at for one page of a filtered list
_PAGE_BYTES = 1 << 20  # of requests on one page, which ends behind the one that passes it
_PREFER = header(
    "Prefer",
    "`wait=N`: answer when it has changed, or after N seconds, at most 30.",
    example="wait=10",
)
_NONE_MATCH = header("If-None-Match", "The ETag at hand: 304 while it still holds.")
KEY = header(
    "Idempotency-Key",
    "Makes a repeated submit answer the job of the first, for a day.",
    pattern=KEY_PATTERN,
)
_APPLIED = {"description": "The wait that was granted.", "schema": {"type": "string"}}
_REPLAYED = {
    "description": "`true` when an earlier request made the job.",
    "schema": {"type": "string"},
}
_JOB_HEADERS = {"ETag": ETAG, "Retry-After": RETRY_AFTER, "Preference-Applied": _APPLIED}
SUBMITTED = _JOB_HEADERS | {
    "Location": LOCATION,
    "Idempotency-Replayed": _REPLAYED,
    "Deprecation": DEPRECATION,
}

EXAMPLE = {
    "model": "smollm2-135m-instruct",
    "corpus": {"id": "sample"},
    "neurons": {"layers": "0-3,14", "indices": "all"},
    "contexts": {"top_k": 20, "window": 128, "tails": "both"},
    "metadata": {"project": "demo"},
}


@blueprint.route("", methods=["POST"])
@blueprint.arguments(AnalysisSchema, location="json", example=EXAMPLE)
@blueprint.arguments(SubmitQuery, location="query")
@takes(KEY, _PREFER)
@blueprint.doc(operationId="submitJob")
@blueprint.response(
    202, SubmittedJobSchema, description="Accepted, and safe in Redis.", headers=SUBMITTED
)
@blueprint.alt_response(
    200,
    schema={"oneOf": [SubmittedJobSchema, EstimateSchema]},
    description="It ended within `Prefer: wait`; or the estimate of a dry run.",
    headers=SUBMITTED,
    success=True,
)
@problems(
    {
        400: "broken JSON, or a bad Idempotency-Key or Prefer",
        409: "the corpus is still being written",
        410: "the job of this Idempotency-Key was deleted",
        413: "the body is too long, or the corpus has too many documents",
        415: "the body is not application/json",
        422: "a value is not allowed; each has its pointer",
        429: "too many jobs have not ended, or a quota of the tenant's is used up",
        507: "the store has no room left for texts sent along",
    }
)
def submit(body: Mapping[str, Any], query: Mapping[str, Any]) -> Response:
    """Submit an analysis

    With `?dry_run=true` nothing runs, and the answer is an estimate.
    """
    here = services()
    key, seconds = read_idempotency_key(request.headers), read_wait(request.headers)
    senses = body.get("senses", {})
    if query["dry_run"]:
        checked = check_job(here, body)
        notes = [note.to_dict() for note in note_requests(here, [checked])[0]]
        answer = checked.estimate.to_dict() | {"notes": notes}
        return answer_json(answer, headers=deprecation_headers(senses))
    job, replayed, said = submit_job(here, body, key)
    end_large_body()
    job, waited = here.waits.wait(job, _is_over, seconds)
    headers = (
        job_headers(job) | {"Location": f"{here.base}/v1/jobs/{job.id}"} | _applied(seconds, waited)
    )
    headers |= {"Idempotency-Replayed": "true"} if replayed else {}
    headers |= deprecation_headers(senses)
    shown = show_submitted(here, job, said)
    return answer_json(shown, 200 if seconds and job.is_terminal else 202, headers)


@blueprint.route("", methods=["GET"])
@blueprint.arguments(JobsQuery, location="query")
@blueprint.doc(operationId="listJobs")
@blueprint.response(200, JobListSchema, headers={"Link": LINK})
@problems(
    {
        400: "a cursor that is not of this list",
        410: "an expired cursor",
        422: "a parameter is not allowed",
    }
)
def list_jobs(query: Mapping[str, Any]) -> Response:
    """List jobs, newest first"""
    here = services()
    filters = {
        name: query[name]
        for name in ("status", "model", "corpus", "batch", "metadata")
        if name in query
    }
    before = _open_cursor(here, query.get("cursor"), filters)
    jobs, last = _collect(here, filters, before, query["limit"])
    cursor = (
        here.cursors.seal("jobs", filters, [last.created_at, last.id], here.tenant)
        if last
        else None
    )
    return answer_page(show_jobs(here, jobs), cursor)


@blueprint.route("/<job:job_id>", methods=["GET"])
@takes(_NONE_MATCH, _PREFER)
@blueprint.doc(operationId="getJob")
@blueprint.response(200, JobSchema, headers=_JOB_HEADERS)
@blueprint.alt_response(
    304, description="As it was.", headers={"ETag": ETAG, "Retry-After": RETRY_AFTER}
)
@problems({400: "a bad Prefer", 404: "no such job", 410: "the job has expired"})
def get_job(job_id: str) -> Response:
    """Read a job

    With `Prefer: wait=N` and `If-None-Match`, the answer comes when the job changes; with `Prefer`
    alone, when it ends.
    """
    seconds = read_wait(request.headers)
    if not seconds and (headers := _unchanged(job_id)):
        return Response(status=304, headers=headers)
    job = find_job(services(), job_id)
    if seconds:
        job, waited = _wait_for_change(job, seconds)
        headers = job_headers(job) | _applied(seconds, waited)
    else:
        headers = job_headers(job)
    if matches_tag(request.headers, etag(job)):
        return Response(status=304, headers=headers)
    if job.status == "succeeded" and time.time() - (job.finished_at or 0.0) < _FRESH_S:
        services().results.warm(job_id)  # whoever polls wants to read it next
    return answer_json(show_job(services(), job), headers=headers)


@blueprint.route("/<job:job_id>", methods=["DELETE"])
@blueprint.doc(operationId="deleteJob")
@blueprint.response(204, description="The job and its result are gone.")
@problems({404: "no such job", 409: "the job has not ended", 410: "the job has expired"})
def delete(job_id: str) -> Response:
    """Delete a job that has ended, and its result"""
    delete_job(services(), job_id)
    return Response(status=204)


@blueprint.route("/<job:job_id>/cancel", methods=["POST"])
@blueprint.doc(operationId="cancelJob")
@blueprint.response(202, JobSchema, description="It will end soon, or has.", headers=_JOB_HEADERS)
@blueprint.alt_response(
    200, schema=JobSchema, description="It had ended before.", headers=_JOB_HEADERS, success=True
)
@problems({404: "no such job", 410: "the job has expired"})
def cancel(job_id: str) -> Response:
    """Cancel a job"""
    job, ended_before = cancel_job(services(), job_id)
    return answer_json(show_job(services(), job), 200 if ended_before else 202, job_headers(job))


def _unchanged(job_id: str) -> dict[str, str] | None:
    """The headers of a 304, when the client's tag still holds.

    Most polls end here, so the job itself is not read.
    """
    if "If-None-Match" not in request.headers or (tag := _read_tag(job_id)) is None:
        return None
    revision, status = tag
    return (
        state_headers(revision, status)
        if matches_tag(request.headers, make_tag(revision))
        else None
    )


def _read_tag(job_id: str) -> tuple[int, str] | None:
    here = services()
    return here.board.jobs.read_tag(job_id, here.tenant)


def _is_over(job: Job) -> bool:
    return job.is_terminal


def _wait_for_change(job: Job, seconds: int) -> tuple[Job, bool]:
    here, headers = services(), request.headers
    if "If-None-Match" not in headers:
        return here.waits.wait(job, _is_over, seconds)
    # A job that has ended changes no more.
    return here.waits.wait(
        job, lambda j: j.is_terminal or not matches_tag(headers, etag(j)), seconds
    )


def _applied(seconds: int, waited: bool) -> dict[str, str]:
    return {"Preference-Applied": f"wait={seconds}"} if waited else {}


def _open_cursor(
    here: Services, cursor: str | None, filters: Mapping[str, Any]
) -> tuple[float, str] | None:
    if cursor is None:
        return None
    created_at, job = here.cursors.open(cursor, "jobs", filters, here.tenant)
    return float(created_at), str(job)


def _collect(
    here: Services, filters: Mapping[str, Any], before: tuple[float, str] | None, limit: int
) -> tuple[list[Job], Job | None]:
    """A page, and the job after which the next one begins; None when the list ends here."""
    page: list[Job] = []
    scanned, size, last = 0, 0, None
    for job in _newest_first(here, before, filters.get("batch")):
        if len(page) == limit or scanned == _SCANNED or size > _PAGE_BYTES:
            return page, last
        scanned, last = scanned + 1, job
        if _passes(job, filters):
            page.append(job)
            size += job.record_bytes
    return page, None


def _newest_first(
    here: Services, before: tuple[float, str] | None, batch: str | None
) -> Iterator[Job]:
    if batch is not None:
        yield from _last_first(here, before, batch)
        return
    yield from here.board.jobs.newest_first(before=before, tenant=here.tenant)


def _last_first(here: Services, before: tuple[float, str] | None, batch: str) -> Iterator[Job]:
    """Those of a batch, which are known without a search."""
    jobs = list_jobs_of(here, batch)
    if before is not None and before[1] in jobs:
        jobs = jobs[jobs.index(before[1]) + 1 :]
    yield from here.board.jobs.iterate(jobs)


def _passes(job: Job, filters: Mapping[str, Any]) -> bool:
    has = {
        "status": job.status,
        "model": job.request.model,
        "corpus": job.analysis.corpus,
        "batch": job.batch,
    }
    plain = {name: wanted for name, wanted in filters.items() if name != "metadata"}
    return (
        not job.has_expired
        and all(has[name] == wanted for name, wanted in plain.items())
        and _has_pair(job, filters.get("metadata"))
    )


def _has_pair(job: Job, pair: str | None) -> bool:
    """pair: "name=value"; None is any."""
    if pair is None:
        return True
    name, _, value = pair.partition("=")
    return job.analysis.metadata.get(name) == value
