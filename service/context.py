"""What the routes share: one record, made by `create_app`, found through the running app."""

from __future__ import annotations

from dataclasses import dataclass, replace

from celery import Celery
from flask import current_app, g, request

from polyseme.contract.board.board import Board
from polyseme.contract.files.probe import StoreProbe
from polyseme.contract.files.store import Store
from polyseme.contract.names import DEFAULT_TENANT
from polyseme.contract.settings import Settings
from polyseme.contract.traces import Tracer
from polyseme.service.http.cursors import Cursors
from polyseme.service.http.origins import Cors
from polyseme.service.http.request_meter import RequestMeter
from polyseme.service.monitoring.metrics import Metrics
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
    store_probe: StoreProbe
    queue: Celery
    results: Results
    uploads: UploadReader
    cursors: Cursors
    waits: WaitRoom
    metrics: Metrics
    tracer: Tracer
    webhook_urls: WebhookUrlCheck
    meter: RequestMeter
    cors: Cors
    tenant: str = DEFAULT_TENANT  # whose request this is; nothing of another's is read or changed
    has_quotas: bool = False
    base: str = ""  # the path that a proxy serves this below, such as /polyseme; before every link


def services() -> Services:
    """Those of the running app, for the tenant that the present request comes from."""
    own: Services = g.get("services") or current_app.extensions[KEY]
    return own


def serve(tenant: str, *, has_quotas: bool) -> None:
    """Makes `services` those of a tenant for the rest of the present request."""
    g.services = replace(services(), tenant=tenant, has_quotas=has_quotas, base=request.script_root)
