"""The Flask application, put together from settings. Opens no connection before the first request but Redis'."""

from __future__ import annotations

import time

import redis
from flask import Flask, Response, g, request

from contract.board import Board
from contract.exposure import check_keyless
from contract.queue import connect_queue
from contract.settings import Settings
from contract.store import Store
from service.access import admit, note_rate
from service.answers import dump_json
from service.blueprint import refuse_query
from service.context import KEY, Services, services
from service.cursors import Cursors
from service.headers import read_request_id
from service.meter import RequestMeter
from service.metrics import Metrics
from service.openapi import build_document, create_api
from service.problems import register_problems, request_id
from service.results import Results
from service.routes import activations, corpora, health, jobs, models, neurons, senses
from service.routes.docs import register_docs
from service.waits import WaitRoom

REDIS_TIMEOUT_S = 5.0


def create_app(settings: Settings) -> Flask:
    check_keyless(settings)
    app = Flask("service", static_folder=None)
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    app.extensions[KEY] = create_services(settings)
    api = create_api(app)
    for module in (jobs, neurons, senses, activations, corpora, models, health):
        api.register_blueprint(module.blueprint)
    register_docs(app, dump_json(build_document(api)))
    register_problems(app)
    app.before_request(begin_request)
    app.after_request(end_request)
    return app


def create_services(settings: Settings) -> Services:
    client = redis.Redis.from_url(
        settings.redis_url,
        decode_responses=True,
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
    )
    board = Board(client)
    store = Store(settings.store)
    return Services(
        settings=settings,
        board=board,
        store=store,
        queue=connect_queue(settings.redis_url),
        results=Results(store, settings.cache),
        cursors=Cursors(board.secret()),
        waits=WaitRoom(settings.api_threads // 2),
        metrics=Metrics(board),
        meter=RequestMeter(board.accounts),
    )


def begin_request() -> None:
    g.started = time.perf_counter()
    if found := read_request_id(request.headers):
        g.request_id = found
    admit()
    refuse_query()


def end_request(response: Response) -> Response:
    response.headers["X-Request-Id"] = request_id()
    response.headers["X-Content-Type-Options"] = "nosniff"
    note_rate(response)
    route = request.url_rule.rule if request.url_rule else "none"
    seconds = time.perf_counter() - g.get("started", time.perf_counter())
    services().metrics.observe(request.method, route, response.status_code, seconds)
    return response
