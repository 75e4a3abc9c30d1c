"""The Flask application, put together from settings. Opens no connection before the first request but Redis'."""

from __future__ import annotations

import time

from flask import Flask, Response, g, request

from contract.board import Board
from contract.connection import check_durability
from contract.queue import connect_queue
from contract.settings import Settings
from contract.store import Store
from service.answers import dump_json
from service.blueprint import refuse_query
from service.context import KEY, Services, services
from service.cursors import Cursors
from service.headers import read_request_id
from service.metrics import Metrics
from service.openapi import build_document, create_api
from service.problems import register_problems, request_id
from service.results import Results
from service.routes import activations, corpora, health, jobs, models, neurons, senses
from service.routes.docs import register_docs
from service.waits import WaitRoom


def create_app(settings: Settings) -> Flask:
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
    check_durability(settings.redis_url, allow_volatile=settings.allow_volatile_redis)
    board = Board.connect(settings.redis_url)
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
    )


def begin_request() -> None:
    g.started = time.perf_counter()
    if found := read_request_id(request.headers):
        g.request_id = found
    refuse_query()


def end_request(response: Response) -> Response:
    response.headers["X-Request-Id"] = request_id()
    response.headers["X-Content-Type-Options"] = "nosniff"
    route = request.url_rule.rule if request.url_rule else "none"
    seconds = time.perf_counter() - g.get("started", time.perf_counter())
    services().metrics.observe(request.method, route, response.status_code, seconds)
    return response
