"""What the routes share: one record, made by `create_app`, found through the running app."""

from __future__ import annotations

from dataclasses import dataclass

from celery import Celery
from flask import current_app

from contract.board import Board
from contract.settings import Settings
from contract.store import Store
from contract.traces import Tracer
from service.cursors import Cursors
from service.metrics import Metrics
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
    metrics: Metrics
    tracer: Tracer
    gate: Gate


def services() -> Services:
    found: Services = current_app.extensions[KEY]
    return found
