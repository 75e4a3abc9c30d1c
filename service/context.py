"""What the routes share: one record, made by `create_app`, found through the running app."""

from __future__ import annotations

from dataclasses import dataclass, replace

from celery import Celery
from flask import current_app, g, request

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Store
from polyseme.contract.names import DEFAULT_TENANT
from polyseme.contract.settings import Settings
from polyseme.contract.traces import Tracer
from polyseme.service.http.body import LargeBodies, LargeBody
from polyseme.service.http.cursors import Cursors
from polyseme.service.http.origins import Cors
from polyseme.service.http.request_meter import RequestMeter
from polyseme.service.monitoring.metrics import Metrics
from polyseme.service.monitoring.readiness import Readiness
from polyseme.service.outbound.url_check import WebhookUrlCheck
from polyseme.service.reading.upload_reader import UploadReader
from polyseme.service.results.result import Results
from polyseme.service.waiting.waits import WaitRoom

KEY = "polyseme"


@dataclass(frozen=True)
class Services:
    settings: Settings
    board: Board
    store: Store
    readiness: Readiness
    queue: Celery
    results: Results
    uploads: UploadReader
    large_bodies: LargeBodies
    cursors: Cursors
    waits: WaitRoom
    metrics: Metrics
    tracer: Tracer
    webhook_urls: WebhookUrlCheck
    meter: RequestMeter
    cors: Cors
    tenant: str = DEFAULT_TENANT  # whose request this is; nothing of another's is read or changed
    has_quotas: bool = False
    is_admin: bool = False  # may be told where files lie
    base: str = ""  # the path that a proxy serves this below, such as /polyseme; before every link


def services() -> Services:
    """Those of the running app, for the tenant that the present request comes from."""
    own: Services = g.get("services") or current_app.extensions[KEY]
    return own


def serve(tenant: str, *, has_quotas: bool, is_admin: bool = False) -> None:
    """Makes `services` those of a tenant for the rest of the present request."""
    g.large_body = services().large_bodies.of(tenant)
    g.services = replace(
        services(),
        tenant=tenant,
        has_quotas=has_quotas,
        is_admin=is_admin,
        base=request.script_root,
    )


def end_large_body(error: BaseException | None = None) -> None:
    """The present request's body is read and checked, if it had one: another may be."""
    large: LargeBody | None = g.get("large_body")
    if large is not None:
        large.end()
