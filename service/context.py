"""What the routes share: one record, made by `create_app`, found through the running app."""

from __future__ import annotations

from dataclasses import dataclass, replace

from celery import Celery
from flask import current_app, g

from contract.board import Board
from contract.settings import Settings
from contract.store import Store
from contract.tenants import DEFAULT_TENANT
from contract.traces import Tracer
from service.cursors import Cursors
from service.meter import RequestMeter
from service.metrics import Metrics
from service.places import Places
from service.results import Results
from service.waits import WaitRoom
from service.webhooks import Gate

KEY = "polyseme"


@dataclass(frozen=True)
class Services:
    settings: Settings
    board: Board
    store: Store
    queue: Celery
    results: Results
    cursors: Cursors
    waits: WaitRoom
    bodies: Places  # for requests whose bodies come slowly
    metrics: Metrics
    tracer: Tracer
    gate: Gate
    meter: RequestMeter
    tenant: str = DEFAULT_TENANT  # whose request this is; nothing of another's is read or changed
    has_quotas: bool = False


def services() -> Services:
    """Those of the running app, for the tenant that the present request comes from."""
    found: Services = g.get("services") or current_app.extensions[KEY]
    return found


def serve(tenant: str, *, has_quotas: bool) -> None:
    """Makes `services` those of a tenant for the rest of the present request."""
    g.services = replace(services(), tenant=tenant, has_quotas=has_quotas)
