"""A service on a real Redis and real files, in the process and behind a real server thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Store
from polyseme.contract.records.job import Job
from polyseme.contract.settings import Settings
from polyseme.service.app import create_app
from polyseme.service.context import KEY, Services
from tests.factories import MODEL, add_corpus, make_card, open_job, run_job, write_result


def make_settings(redis_url: str, folder: Path) -> Settings:
    catalogue = folder / "models.toml"
    catalogue.write_text(
        f'[[models]]\nid = "{MODEL}"\npath = "x"\n[[models]]\nid = "unseen"\npath = "y"\n'
    )
    return Settings(
        redis_url=redis_url,
        store=str(folder / "store"),
        catalogue=str(catalogue),
        cache=str(folder / "cache"),
        inline_bytes=1 << 16,
        upload_bytes=1 << 20,
        max_documents=1000,
        max_active_jobs=50,
    )


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return make_settings(redis_url, tmp_path)


@pytest.fixture
def app(settings: Settings, board: Board, store: Store) -> Flask:
    """A service that knows one model and the corpus "notes"."""
    board.registry.put_card(make_card())
    add_corpus(board, store)
    return create_app(settings)


@pytest.fixture
def http(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def key(board: Board) -> str:
    """An admin's key of the tenant "default". From now on nobody is served without one."""
    return board.accounts.create_key("default", ("admin",))[1]


@pytest.fixture
def services(app: Flask) -> Services:
    found: Services = app.extensions[KEY]
    return found


@pytest.fixture
def done(board: Board, store: Store, app: Flask) -> Job:
    """A job that succeeded, with its result."""
    job = open_job(board)
    write_result(store, job.id)
    return run_job(board, job.id)


@pytest.fixture
def server(app: Flask) -> Iterator[httpx.Client]:
    """A client of the service on a real port."""
    with serving(app) as client:
        yield client


@contextmanager
def serving(app: Flask) -> Iterator[httpx.Client]:
    listener = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(
        target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{listener.port}", timeout=30) as client:
        yield client
    listener.shutdown()
    thread.join()
