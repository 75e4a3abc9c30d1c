"""/livez, /readyz, /metrics: for supervisors, load balancers and Prometheus."""

from __future__ import annotations

import redis
from flask import Response, request

from polyseme.contract.errors import Unavailable
from polyseme.service.access.callers import is_served, needs_admin, open_to_all
from polyseme.service.context import services
from polyseme.service.http.answers import answer_json
from polyseme.service.http.blueprint import Blueprint, problems
from polyseme.service.monitoring import metrics as prometheus
from polyseme.service.schemas.models import ReadySchema, StateSchema

blueprint = Blueprint("health", __name__, description="For supervisors and dashboards.")


@blueprint.route("/livez", methods=["GET"])
@blueprint.doc(operationId="livez")
@blueprint.response(200, StateSchema)
@open_to_all
def livez() -> Response:
    """Whether the process answers"""
    return answer_json({"status": "live"})


@blueprint.route("/readyz", methods=["GET"])
@blueprint.doc(operationId="readyz")
@blueprint.response(200, ReadySchema)
@problems({503: "the board or the store does not answer"})
@open_to_all
def readyz() -> Response:
    """Whether the board answers and the store takes files

    `queues` is for who may read alone.
    """
    here = services()
    try:
        here.board.ping()
        workers, queues = here.board.workers.count(), here.board.workers.count_by_queue()
    except redis.RedisError as e:
        raise Unavailable(f"the job board does not answer: {type(e).__name__}") from e
    if why := here.store_probe.ask():
        raise Unavailable(f"the store is away: {why}")
    ready = {"status": "ready", "workers": workers}
    # Their names may tell what a service is used for; who needs no key is served, too.
    return answer_json(ready | {"queues": queues} if is_served(here, request) else ready)


@blueprint.route("/metrics", methods=["GET"])
@blueprint.doc(operationId="metrics")
@blueprint.response(
    200,
    {"type": "string"},
    content_type=prometheus.MEDIA_TYPE,
    description="Prometheus' text format.",
)
@problems({})
@needs_admin
def metrics() -> Response:
    """Read metrics

    They count the work of all tenants, so a key needs the scope `admin`.
    """
    return Response(services().metrics.render(), content_type=prometheus.MEDIA_TYPE)
