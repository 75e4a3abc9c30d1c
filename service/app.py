"""The Flask application, put together from settings.

Opens no connection before the first request but Redis'.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Flask, Response, g, request

from polyseme.contract.board.board import Board
from polyseme.contract.board.connection import check_durability, connect_redis
from polyseme.contract.board.exposure import check_keyless
from polyseme.contract.board.outbox import Outbox
from polyseme.contract.files.probe import StoreProbe
from polyseme.contract.own_store import open_store
from polyseme.contract.settings import Settings
from polyseme.contract.tickets import connect_queue
from polyseme.contract.traces import NoTracer, Tracer
from polyseme.service.access.callers import admit, note_rate
from polyseme.service.context import KEY, Services, end_large_body, services
from polyseme.service.http.blueprint import JSON_BYTES, refuse_query
from polyseme.service.http.body import LargeBodies
from polyseme.service.http.cursors import Cursors
from polyseme.service.http.headers import read_request_id
from polyseme.service.http.openapi import build_document, create_api
from polyseme.service.http.origins import Cors, parse_origins
from polyseme.service.http.prefix import BelowPrefix, TrustedProxies
from polyseme.service.http.problems import register_problems, request_id
from polyseme.service.http.request_meter import RequestMeter
from polyseme.service.http.secure_headers import add_secure_headers
from polyseme.service.http.thread_slots import (
    SERVER_KEY,
    ServerHooks,
    Shares,
    TenantSlots,
    share_threads,
)
from polyseme.service.monitoring.metrics import Metrics
from polyseme.service.monitoring.observation import begin_observing, end_observing, forget_request
from polyseme.service.monitoring.readiness import KEEP_S, Readiness
from polyseme.service.outbound.addresses import Allowed
from polyseme.service.outbound.url_check import WebhookUrlCheck
from polyseme.service.reading.upload_reader import UploadReader
from polyseme.service.results.result import Results
from polyseme.service.routes import (
    activations,
    batches,
    corpora,
    dictionaries,
    health,
    job_events,
    jobs,
    models,
    neurons,
    senses,
    vectors,
)
from polyseme.service.routes.dashboard import register_dashboard
from polyseme.service.routes.docs import register_docs
from polyseme.service.routes.guide import register_guide
from polyseme.service.schemas.batches import BatchEventSchema
from polyseme.service.schemas.jobs import JobEventSchema
from polyseme.service.waiting.waits import WaitRoom
from polyseme.service.waiting.watch import Watch, read_jobs

# In the order of the OpenAPI document.
ROUTES = (
    *(jobs, job_events, batches, neurons, senses, activations),
    *(corpora, vectors, models, dictionaries, health),
)
EVENT_SCHEMAS = {"JobEvent": JobEventSchema, "BatchEvent": BatchEventSchema}


STORE_WAIT_S = 3.0  # after which a probe of the store counts as failed


class App(Flask):
    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Every view and hook here is a plain function;

        Flask inspects each, nine times a request.
        """
        return func


def create_app(settings: Settings, tracer: Tracer | None = None) -> Flask:
    check_keyless(settings)
    app = App("polyseme.service", static_folder=None)
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    app.config[JSON_BYTES] = settings.inline_bytes
    proxies = TrustedProxies(settings.trusted_proxies)
    app.wsgi_app = BelowPrefix(app.wsgi_app, proxies)  # type: ignore[method-assign]
    shares = share_threads(settings.api_threads)
    here = create_services(settings, tracer or NoTracer(), shares)
    app.extensions[KEY] = here
    app.extensions[SERVER_KEY] = ServerHooks(shares.bodies, shares.readers, here.waits.watch.close)
    api = create_api(app)
    for module in ROUTES:
        api.register_blueprint(module.blueprint)
    register_docs(app, build_document(api, EVENT_SCHEMAS))
    register_dashboard(app, settings.embed_origins)
    register_guide(app)
    register_problems(app)
    app.before_request(begin_request)
    app.after_request(end_request)
    app.teardown_request(forget_request)
    app.teardown_request(end_large_body)
    return app


def create_services(settings: Settings, tracer: Tracer, shares: Shares) -> Services:
    most_of_one = max(settings.api_threads // 4, 1)  # of a tenant's, of each of two kinds
    check_durability(settings.redis_url, allow_volatile=settings.allow_volatile_redis)
    client = connect_redis(settings.redis_url)
    board = Board(client)
    store = open_store(settings.store, board.registry)
    return Services(
        settings=settings,
        board=board,
        store=store,
        readiness=Readiness(board, StoreProbe(store, wait_s=STORE_WAIT_S, keep_s=KEEP_S)),
        queue=connect_queue(settings.redis_url),
        uploads=UploadReader(TenantSlots(shares.uploads, most_of_one), settings.cache),
        large_bodies=LargeBodies(TenantSlots(shares.large_bodies, most_of_one)),
        results=Results(store, settings.cache),
        cursors=Cursors(board.registry.get_secret()),
        waits=WaitRoom(shares.waits, Watch(partial(read_jobs, board))),
        metrics=Metrics(board, store, Outbox(client), patience_s=settings.queue_patience_s),
        tracer=tracer,
        webhook_urls=WebhookUrlCheck(Allowed.parse(settings.webhook_allow)),
        meter=RequestMeter(board.accounts),
        cors=Cors(parse_origins("cors_origins", settings.cors_origins)),
    )


def begin_request() -> Response | None:
    """An answer where no route is to run: to a browser's question before it sends a request."""
    if given := read_request_id(request.headers):
        g.request_id = given
    here = services()
    begin_observing(here.tracer, request, request_id())
    if (preflight := here.cors.answer_preflight(request)) is not None:
        return preflight
    admit()
    refuse_query()
    return None


def end_request(response: Response) -> Response:
    headers = response.headers
    headers["X-Request-Id"] = request_id()
    add_secure_headers(headers, over_tls=request.is_secure)
    note_rate(response)
    here = services()
    here.cors.add_headers(request, response)
    end_observing(here.metrics, request, response.status_code, here.settings.log_requests)
    return response
