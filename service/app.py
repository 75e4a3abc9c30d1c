"""The Flask application, put together from settings. Opens no connection before the first request but Redis'."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Flask, Response, g, request

from contract.addresses import Allowed
from contract.board import Board
from contract.connection import check_durability, connect_redis
from contract.exposure import check_keyless
from contract.queue import connect_queue
from contract.settings import Settings
from contract.store import Store
from contract.traces import NoTracer, Tracer
from contract.webhooks import Outbox
from service.access import admit, note_rate
from service.answers import dump_json
from service.blueprint import refuse_query
from service.context import KEY, Services, services
from service.cursors import Cursors
from service.headers import read_request_id
from service.meter import RequestMeter
from service.metrics import Metrics
from service.observation import begin_observing, end_observing, forget_request
from service.openapi import build_document, create_api
from service.places import share_places
from service.problems import register_problems, request_id
from service.results import Results
from service.routes import activations, batches, corpora, events, health, jobs, models, neurons, senses
from service.routes.dashboard import register_dashboard
from service.routes.docs import register_docs
from service.secure_headers import add_secure_headers
from service.waits import WaitRoom
from service.watch import Watch, look_at
from service.webhooks import Gate


class App(Flask):
    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Every view and hook here is a plain function; Flask inspects each, nine times a request."""
        return func


def create_app(settings: Settings, tracer: Tracer | None = None) -> Flask:
    check_keyless(settings)
    app = App("service", static_folder=None)
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    app.extensions[KEY] = create_services(settings, tracer or NoTracer())
    api = create_api(app)
    for module in (jobs, events, batches, neurons, senses, activations, corpora, models, health):
        api.register_blueprint(module.blueprint)
    register_docs(app, dump_json(build_document(api)))
    register_dashboard(app, settings.embed_origins)
    register_problems(app)
    app.before_request(begin_request)
    app.after_request(end_request)
    app.teardown_request(forget_request)
    return app


def create_services(settings: Settings, tracer: Tracer) -> Services:
    check_durability(settings.redis_url, allow_volatile=settings.allow_volatile_redis)
    client = connect_redis(settings.redis_url)
    board = Board(client)
    store = Store(settings.store)
    waits, bodies = share_places(settings.api_threads)
    return Services(
        settings=settings,
        board=board,
        store=store,
        queue=connect_queue(settings.redis_url),
        results=Results(store, settings.cache),
        cursors=Cursors(board.secret()),
        waits=WaitRoom(waits, Watch(partial(look_at, board))),
        bodies=bodies,
        metrics=Metrics(board, store, Outbox(client), patience_s=settings.queue_patience_s),
        tracer=tracer,
        gate=Gate(Allowed.parse(settings.webhook_allow)),
        meter=RequestMeter(board.accounts),
    )


def begin_request() -> None:
    if found := read_request_id(request.headers):
        g.request_id = found
    begin_observing(services(), request, request_id())
    admit()
    refuse_query()


def end_request(response: Response) -> Response:
    headers = response.headers
    headers["X-Request-Id"] = request_id()
    add_secure_headers(headers, over_tls=request.is_secure)
    note_rate(response)
    end_observing(services(), request, response.status_code)
    return response
