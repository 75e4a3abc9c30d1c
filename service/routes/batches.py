"""/v1/batches: many jobs in one call, and one state for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flask import Response, request

from polyseme.contract.board.batches import Batch
from polyseme.contract.errors import InvalidRequest, MalformedRequest, TooLarge, UnsupportedMedia
from polyseme.contract.strict_json import parse_json
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
from polyseme.service.http.body import read_bytes, read_json
from polyseme.service.http.headers import KEY_PATTERN, matches_tag, read_idempotency_key, read_wait
from polyseme.service.http.problems import invalid_values
from polyseme.service.jobs.deprecated import deprecation_headers
from polyseme.service.jobs.show import make_tag
from polyseme.service.jobs.submit_batches import (
    Submitted,
    batch_to_dict,
    cancel_batch,
    check_count,
    delete_batch,
    find_batch,
    show_batch,
    show_submitted_batch,
    submit_batch,
)
from polyseme.service.jobs.summarise_batches import summarise_batch
from polyseme.service.schemas.batches import (
    BatchesQuery,
    BatchListSchema,
    BatchRequestSchema,
    BatchSchema,
    BatchSummariesQuery,
    BatchSummariesSchema,
    DeleteBatchQuery,
    EnvelopeSchema,
    SubmitBatchQuery,
    SubmittedBatchSchema,
)

blueprint = Blueprint(
    "batches", __name__, url_prefix="/v1/batches", description="Many jobs in one call."
)

_BLANK = 100  # lines that may stand for each job
_LINES = ("application/x-ndjson", "application/jsonl")
_PREFER = header(
    "Prefer",
    "`wait=N`: answer when it has changed, or after N seconds, at most 30.",
    example="wait=10",
)
_NONE_MATCH = header("If-None-Match", "The ETag at hand: 304 while it still holds.")
_KEY = header(
    "Idempotency-Key",
    "A repeated submit answers the batch of the first, for a day.",
    pattern=KEY_PATTERN,
)
_APPLIED = {"description": "The wait that was granted.", "schema": {"type": "string"}}
_REPLAYED = {
    "description": "`true` when an earlier request made the batch.",
    "schema": {"type": "string"},
}
_HEADERS = {"ETag": ETAG, "Retry-After": RETRY_AFTER, "Preference-Applied": _APPLIED}
_SUBMITTED = _HEADERS | {
    "Location": LOCATION,
    "Idempotency-Replayed": _REPLAYED,
    "Deprecation": DEPRECATION,
}

EXAMPLE = {
    "jobs": [
        {
            "model": "smollm2-135m-instruct",
            "corpus": {"id": "sample"},
            "neurons": {"layers": "0-3"},
        },
        {
            "model": "smollm2-135m-instruct",
            "corpus": {"id": "sample"},
            "neurons": {"layers": "26-29"},
        },
    ],
    "metadata": {"project": "demo"},
}
_LINE = (
    '{"model": "smollm2-135m-instruct", "corpus": {"id": "sample"}, "neurons": {"layers": "0-3"}}\n'
)
_BODY = {
    "required": True,
    "description": "JSON with all jobs, or JSON lines: one job's request a line.",
    "content": {
        "application/json": {"schema": BatchRequestSchema, "example": EXAMPLE},
        **{kind: {"schema": {"type": "string"}, "example": _LINE} for kind in _LINES},
    },
}


@blueprint.route("", methods=["POST"])
@blueprint.arguments(SubmitBatchQuery, location="query")
@takes(_KEY, _PREFER)
@blueprint.doc(operationId="submitBatch", requestBody=_BODY)
@blueprint.response(
    202, SubmittedBatchSchema, description="Accepted, and safe in Redis.", headers=_SUBMITTED
)
@blueprint.alt_response(
    200,
    schema=SubmittedBatchSchema,
    description="It ended within `Prefer: wait`.",
    headers=_SUBMITTED,
    success=True,
)
@problems(
    {
        400: "broken JSON, or a bad Idempotency-Key or Prefer",
        409: "the corpus of an entry is still being written",
        410: "the batch of this Idempotency-Key was deleted, or has expired",
        413: "the body is too long",
        415: "a Content-Type that is not taken",
        422: "an entry is refused; each wrong value has its pointer, such as "
        "`/jobs/3/contexts/top_k`",
        429: "too many jobs have not ended, or a quota of the tenant's is used up",
        507: "the store has no room left for texts sent along",
    }
)
def submit(query: Mapping[str, Any]) -> Response:
    """Submit many analyses

    All or none of them, unless `atomic` is false: then the answer tells of each entry its job or
    its problem.
    """
    here = services()
    key, seconds = read_idempotency_key(request.headers), read_wait(request.headers)
    sent = _read_lines(here, query) if request.mimetype in _LINES else _read_envelope(here, query)
    batch, replayed, notes = submit_batch(here, sent, key)
    end_large_body()
    batch, waited = here.waits.wait_for_batch(batch, here.board.batches.get, _is_over, seconds)
    headers = (
        _headers(batch)
        | {"Location": f"{here.base}/v1/batches/{batch.id}"}
        | _applied(seconds, waited)
    )
    headers |= {"Idempotency-Replayed": "true"} if replayed else {}
    headers |= deprecation_headers(*_read_senses(sent))
    shown = show_submitted_batch(here.board, batch, here.base, notes)
    return answer_json(shown, 200 if seconds and batch.is_terminal else 202, headers)


@blueprint.route("", methods=["GET"])
@blueprint.arguments(BatchesQuery, location="query")
@blueprint.doc(operationId="listBatches")
@blueprint.response(200, BatchListSchema, headers={"Link": LINK})
@problems(
    {
        400: "a cursor that is not of this list",
        410: "an expired cursor",
        422: "a parameter is not allowed",
    }
)
def list_batches(query: Mapping[str, Any]) -> Response:
    """List batches, newest first, without their entries"""
    here, limit = services(), query["limit"]
    before = _open_cursor(here, query.get("cursor"))
    batches = here.board.batches.list_page(before=before, count=limit + 1, tenant=here.tenant)
    page = batches[:limit]
    last = page[-1] if len(batches) > limit else None
    cursor = (
        here.cursors.seal("batches", {}, [last.created_at, last.id], here.tenant) if last else None
    )
    return answer_page([batch_to_dict(b, here.base) for b in page], cursor)


@blueprint.route("/<batch:batch_id>", methods=["GET"])
@takes(_NONE_MATCH, _PREFER)
@blueprint.doc(operationId="getBatch")
@blueprint.response(200, BatchSchema, headers=_HEADERS)
@blueprint.alt_response(
    304, description="As it was.", headers={"ETag": ETAG, "Retry-After": RETRY_AFTER}
)
@problems({400: "a bad Prefer", 404: "no such batch", 410: "the batch has expired"})
def get_batch(batch_id: str) -> Response:
    """Read a batch

    With `Prefer: wait=N` and `If-None-Match`, the answer comes when something in it changes; with
    `Prefer` alone, when it ends.
    """
    here, seconds = services(), read_wait(request.headers)
    tag = here.board.batches.read_tag(batch_id, here.tenant)
    if not seconds and tag and matches_tag(request.headers, make_tag(tag[0])):
        return Response(status=304, headers=_state_headers(*tag))
    batch, waited = here.waits.wait_for_batch(
        find_batch(here, batch_id), here.board.batches.get, _has_changed(), seconds
    )
    headers = _headers(batch) | _applied(seconds, waited)
    if matches_tag(request.headers, make_tag(batch.revision)):
        return Response(status=304, headers=headers)
    return answer_json(show_batch(here.board, batch, here.base), headers=headers)


@blueprint.route("/<batch:batch_id>/summaries", methods=["GET"])
@blueprint.arguments(BatchSummariesQuery, location="query")
@blueprint.doc(operationId="listBatchSummaries")
@blueprint.response(200, BatchSummariesSchema, headers={"Link": LINK})
@problems(
    {
        400: "a cursor that is not of this list",
        404: "no such batch",
        410: "an expired cursor, or the batch has expired",
        422: "a parameter is not allowed",
    }
)
def list_summaries(query: Mapping[str, Any], batch_id: str) -> Response:
    """Read what the jobs of a batch have found

    Of each job, in the order of the request: how many neurons have which status, and some of
    them with what they fire for.
    """
    here, limit = services(), query["limit"]
    batch = find_batch(here, batch_id)
    after = -1
    if "cursor" in query:
        after = int(here.cursors.open(query["cursor"], batch_id, {}, here.tenant))
    rows = summarise_batch(here, batch, after=after, count=limit + 1)
    page = rows[:limit]
    is_last = len(rows) <= limit
    cursor = None if is_last else here.cursors.seal(batch_id, {}, page[-1]["index"], here.tenant)
    return answer_page(page, cursor)


@blueprint.route("/<batch:batch_id>", methods=["DELETE"])
@blueprint.arguments(DeleteBatchQuery, location="query")
@blueprint.doc(operationId="deleteBatch")
@blueprint.response(204, description="The batch is gone; its jobs too, if that was asked for.")
@problems({404: "no such batch", 409: "the batch has not ended", 410: "the batch has expired"})
def delete(query: Mapping[str, Any], batch_id: str) -> Response:
    """Delete a batch that has ended

    Its jobs and results stay, unless `with_jobs` is true.
    """
    delete_batch(services(), batch_id, with_jobs=query["with_jobs"])
    return Response(status=204)


@blueprint.route("/<batch:batch_id>/cancel", methods=["POST"])
@blueprint.doc(operationId="cancelBatch")
@blueprint.response(202, BatchSchema, description="It will end soon, or has.", headers=_HEADERS)
@blueprint.alt_response(
    200, schema=BatchSchema, description="It had ended before.", headers=_HEADERS, success=True
)
@problems({404: "no such batch", 410: "the batch has expired"})
def cancel(batch_id: str) -> Response:
    """Cancel every job of a batch that has not ended"""
    here = services()
    batch, ended_before = cancel_batch(here, batch_id)
    return answer_json(
        show_batch(here.board, batch, here.base), 200 if ended_before else 202, _headers(batch)
    )


def _read_envelope(here: Services, query: Mapping[str, Any]) -> Submitted:
    if request.mimetype != "application/json":
        raise UnsupportedMedia(
            f"Content-Type {request.content_type!r}: send application/json, {', '.join(_LINES)}"
        )
    if given := sorted(query):
        raise InvalidRequest(
            f"{given[0]} goes into the body, unless that is JSON lines", pointer=f"/{given[0]}"
        )
    body = read_json(request, here.settings.batch_bytes)
    # Before all else: to look at each of millions takes seconds.
    if isinstance(body, dict) and isinstance(jobs := body.get("jobs"), list):
        check_count(jobs, here.settings.max_batch_jobs)
    schema = EnvelopeSchema()
    if messages := schema.validate(body):
        raise invalid_values(messages)
    webhook = (body.get("webhook") or {}).get("url")
    return Submitted(body["jobs"], body.get("atomic", True), webhook, body.get("metadata"))


def _read_lines(here: Services, query: Mapping[str, Any]) -> Submitted:
    limit = here.settings.batch_bytes
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMedia("Content-Encoding of a batch: none is taken")
    body = read_bytes(request, limit)
    most = here.settings.max_batch_jobs * _BLANK
    if (count := body.count(b"\n")) > most:
        raise TooLarge(f"the body has {count} lines, blank ones included: at most {most} are taken")
    lines = enumerate(body.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1)
    given = [(number, line) for number, line in lines if line.strip()]
    check_count(given, here.settings.max_batch_jobs)  # before each is parsed
    entries = [_read_line(line, number) for number, line in given]
    return Submitted(entries, query.get("atomic", True), query.get("webhook"))


def _read_line(line: bytes, number: int) -> Any:
    """The value, or the error that it is none: that refuses one entry, not the request."""
    try:
        return parse_json(line)
    except MalformedRequest as e:
        return MalformedRequest(f"line {number}: {e.message.replace('the body', 'it')}")


def _read_senses(sent: Submitted) -> Iterator[Mapping[str, Any]]:
    """As its entries have them; any of these may be refused."""
    for entry in sent.entries:
        senses = entry.get("senses") if isinstance(entry, Mapping) else None
        if isinstance(senses, Mapping):
            yield senses


def _headers(batch: Batch) -> dict[str, str]:
    return _state_headers(batch.revision, batch.status)


def _state_headers(revision: int, status: str) -> dict[str, str]:
    headers = {"ETag": make_tag(revision), "Cache-Control": "no-cache"}
    return headers if status == "ended" else headers | {"Retry-After": "2"}


def _is_over(batch: Batch) -> bool:
    return batch.is_terminal


def _has_changed() -> Any:
    """Ends a wait: at the batch's end, or with a tag at hand at its next change."""
    headers = request.headers
    if "If-None-Match" not in headers:
        return _is_over
    return lambda batch: batch.is_terminal or not matches_tag(headers, make_tag(batch.revision))


def _applied(seconds: int, waited: bool) -> dict[str, str]:
    return {"Preference-Applied": f"wait={seconds}"} if waited else {}


def _open_cursor(here: Services, cursor: str | None) -> tuple[float, str] | None:
    if cursor is None:
        return None
    created_at, batch = here.cursors.open(cursor, "batches", {}, here.tenant)
    return float(created_at), str(batch)
