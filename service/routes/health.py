"""/livez, /readyz, /metrics: for supervisors, load balancers and Prometheus."""

from __future__ import annotations

from flask import Response, request

from polyseme.service.access.callers import is_served, needs_admin, open_to_all
from polyseme.service.context import Services, services
from polyseme.service.http.answers import answer_json
from polyseme.service.http.blueprint import Blueprint, problems
from polyseme.service.monitoring import metrics as prometheus
from polyseme.service.monitoring.readiness import State
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
    state = here.readiness.ask()
    ready = {"status": "ready", "workers": state.workers}
    # Their names may tell what a service is used for; who needs no key is served, too.
    return answer_json(ready | {"queues": state.queues} if _may_read(here, state) else ready)


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


def _may_read(here: Services, state: State) -> bool:
    """A stranger, and one of very many callers with a key, is not looked up."""
    if state.has_keys and "Authorization" not in request.headers:
        return False
    return here.readiness.may_look_up() and is_served(here, request)
