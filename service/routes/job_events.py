"""/v1/jobs/{id}/events: a job's progress as it happens."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from polyseme.service.context import services
from polyseme.service.http.blueprint import Blueprint, header, problems, takes
from polyseme.service.jobs.find_and_end import find_job
from polyseme.service.jobs.show import show_seen
from polyseme.service.waiting.event_stream import read_revision, stream_events
from polyseme.service.waiting.watch import JobSnapshot

blueprint = Blueprint(
    "events", __name__, url_prefix="/v1/jobs", description="A job's progress, as it happens."
)

_MEDIA_TYPE = "text/event-stream"
_LAST = header("Last-Event-ID", "The revision at hand: what is sent begins with the one after it.")
# One event, as OpenAPI 3.2 describes streams; 3.1 has no word for more than one.
_EVENT = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "description": "The revision."},
        "event": {"type": "string", "enum": ["progress", "ended"]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/Job"},
        },
    },
}
_HEADERS = {
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}  # the latter is for nginx


@blueprint.route("/<job:job_id>/events", methods=["GET"])
@takes(_LAST)
@blueprint.doc(operationId="streamEvents")
@blueprint.response(
    200,
    _EVENT,
    content_type=_MEDIA_TYPE,
    description="Server-sent events of this shape: `progress`, and at last `ended`, with the job "
    "as their data.",
)
@blueprint.alt_response(
    204, description="It has ended, and Last-Event-ID is its last revision: ask no more."
)
@problems(
    {404: "no such job", 410: "the job has expired", 503: "as many clients wait for jobs as may"}
)
def stream(job_id: str) -> Response:
    """Follow a job

    As server-sent events, up to its end; a comment every few seconds shows that the stream is
    alive. After five minutes the stream ends and the client comes again, which an EventSource does
    by itself. Streams and `Prefer: wait` together hold at most half of the service's threads.
    """
    here, last = services(), read_revision(request.headers.get("Last-Event-ID"))
    job = find_job(here, job_id)
    if job.is_terminal and last == job.revision:
        return Response(status=204)
    release = here.waits.enter()

    def show(snapshot: JobSnapshot) -> dict[str, Any]:
        return show_seen(snapshot.job, snapshot.is_served, here.base)

    answer = Response(
        stream_events(here.waits.watch, job_id, last, show),
        content_type=_MEDIA_TYPE,
        headers=_HEADERS,
    )
    answer.call_on_close(release)
    return answer
