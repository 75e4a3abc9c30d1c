"""The service below a path of a proxy's: every link that it gives leads back through the proxy."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient

from benchmarks.page import find_chromium
from polyseme import Polyseme
from polyseme.contract.board.board import Board
from polyseme.contract.board.outbox import Outbox
from polyseme.contract.files.store import Store
from polyseme.contract.records.job import Job
from polyseme.contract.settings import Settings
from polyseme.service.app import create_app
from polyseme.service.outbound.addresses import Allowed
from polyseme.service.outbound.delivery import Poster
from polyseme.service.webhooks.sender import Sender
from polyseme.stack.child import SAFE_PYTHON
from tests.client.standins import REPOSITORY, free_port, wait_until_live
from tests.factories import MODEL, open_job, run_job, write_result
from tests.service.receiver import receiving

PREFIX = "/models/polyseme"
FORWARDED = {"X-Forwarded-Prefix": PREFIX}
MOUNTED = {"SCRIPT_NAME": PREFIX}
BODY = {"model": MODEL, "corpus": {"id": "notes"}}


def links_of(value: Any) -> list[str]:
    """Every text in an answer that is a path of the service."""
    if isinstance(value, dict):
        return [link for v in value.values() for link in links_of(v)]
    if isinstance(value, list):
        return [link for v in value for link in links_of(v)]
    return [value] if isinstance(value, str) and re.search(r"^/\S*(v1|ui|embed)/", value) else []


@pytest.fixture
def forwarded(http: FlaskClient) -> FlaskClient:
    http.environ_base["HTTP_X_FORWARDED_PREFIX"] = PREFIX
    return http


def test_what_is_made_has_its_place_below_the_path(forwarded: FlaskClient, done: Job) -> None:
    job = forwarded.post("/v1/jobs", json=BODY)
    batch = forwarded.post("/v1/batches", json={"jobs": [BODY]})
    corpus = forwarded.post("/v1/corpora", json={"texts": ["a"]})
    place = {"layer": 0, "neuron": 1}
    check = forwarded.post(
        "/v1/activations", json={"job": done.id, "text": "a", "neurons": [place]}
    )

    for answer in (job, batch, corpus, check):
        assert answer.status_code in (201, 202), answer.text
        assert answer.headers["Location"].startswith(f"{PREFIX}/v1/")
        found = links_of(answer.get_json())
        assert found or answer is corpus
        assert all(link.startswith(f"{PREFIX}/v1/") for link in found)


def test_what_is_read_links_below_the_path(forwarded: FlaskClient, done: Job) -> None:
    paths = [
        f"/v1/jobs/{done.id}",
        "/v1/jobs",
        f"/v1/jobs/{done.id}/neurons/0/1",
        f"/v1/jobs/{done.id}/export?format=ndjson",
        f"/v1/jobs/{done.id}/events",
    ]
    for path in paths:
        text = forwarded.get(path).text
        found = re.findall(r'"(/[^"]*)"', text)
        assert found, path
        assert all(link.startswith(f"{PREFIX}/v1/") for link in found), path


def test_the_next_page_is_below_the_path(http: FlaskClient, board: Board) -> None:
    for _ in range(3):
        open_job(board)

    answer = http.get("/v1/jobs?limit=2", headers=FORWARDED)

    assert answer.headers["Link"].startswith(f"<{PREFIX}/v1/jobs?limit=2&cursor=")


def test_the_document_names_the_server_below_the_path(http: FlaskClient) -> None:
    below = http.get("/openapi.json", headers=FORWARDED).get_json()
    above = http.get("/openapi.json").get_json()

    assert (below["servers"], above["servers"]) == ([{"url": PREFIX}], [{"url": "/"}])
    assert below["paths"] == above["paths"]


def test_pages_keep_the_path_and_their_tags_tell_prefixes_apart(
    http: FlaskClient, done: Job
) -> None:
    view = f"/jobs/{done.id}/neurons/0/1"
    for path in ("/", f"/ui{view}", f"/embed{view}"):
        below, above = http.get(path, headers=FORWARDED), http.get(path)
        links = re.findall(r'(?:href|src)="([^"]*)"', below.text)
        assert links
        assert all(link.startswith(f"{PREFIX}/") for link in links)
        assert below.headers["ETag"] != above.headers["ETag"]
        tag = {"If-None-Match": above.headers["ETag"]}
        assert http.get(path, headers=FORWARDED | tag).status_code == 200

    preload = http.get(f"/ui{view}", headers=FORWARDED).headers["Link"]
    assert preload.startswith(f"<{PREFIX}/v1{view}>")


def test_what_is_kept_for_one_prefix_is_not_given_to_another(http: FlaskClient, done: Job) -> None:
    report, page = f"/v1/jobs/{done.id}/neurons/0/1", f"/v1/jobs/{done.id}/neurons?limit=3"

    for prefix in (PREFIX, "", "/other", PREFIX):
        headers = {"X-Forwarded-Prefix": prefix} if prefix else {}
        links = http.get(report, headers=headers).get_json()["links"].values()
        assert {link.partition("/v1/")[0] for link in links} == {prefix}
        assert http.get(page, headers=headers).headers["Link"].startswith(f"<{prefix}/v1/")


@pytest.mark.parametrize(
    "prefix", ["//evil.example", "https://evil.example", "/\\evil.example", '/"><script>', "/.."]
)
def test_a_prefix_that_leads_elsewhere_is_ignored(prefix: str, http: FlaskClient) -> None:
    headers = {"X-Forwarded-Prefix": prefix}
    answer = http.post("/v1/jobs", json=BODY, headers=headers)
    page = http.get("/", headers=headers)

    assert answer.headers["Location"].startswith("/v1/jobs/")
    assert page.data == http.get("/").data


def test_a_prefix_of_a_stranger_is_ignored(http: FlaskClient, key: str) -> None:
    answer = http.post(
        "/v1/jobs",
        json=BODY,
        headers=FORWARDED | {"Authorization": f"Bearer {key}"},
        environ_overrides={"REMOTE_ADDR": "203.0.113.9"},
    )

    assert answer.headers["Location"].startswith("/v1/jobs/")


def test_an_event_links_through_the_proxy_that_its_job_or_batch_came_through(
    app: Flask, settings: Settings, board: Board
) -> None:
    http = create_app(replace(settings, webhook_allow="127.0.0.1")).test_client()
    with receiving() as receiver:
        hook = {"webhook": {"url": receiver.url}}
        job = http.post("/v1/jobs", json=BODY | hook, headers=FORWARDED).get_json()
        batch = http.post("/v1/batches", json={"jobs": [BODY]} | hook, headers=FORWARDED).get_json()
        for name in (job["id"], *board.batches.list_jobs(batch["id"])):
            run_job(board, name)

        outbox = Outbox.connect(settings.redis_url)
        sender = Sender(board, outbox, Poster(Allowed.parse("127.0.0.1")))
        while taken := outbox.take(lease_s=60):
            sender.deliver(taken)

    events = [json.loads(post.body)["data"] for post in receiver.posts]
    assert {event["id"] for event in events} == {job["id"], batch["id"]}
    found = links_of(events)
    assert len(found) > 8
    assert all(link.startswith(f"{PREFIX}/v1/") for link in found)


class Proxy(BaseHTTPRequestHandler):
    """A reverse proxy: what is not below the prefix is not there."""

    protocol_version = "HTTP/1.1"
    service: tuple[str, int]
    strips: bool  # the prefix off the path, and says so; else it hands the path on as it is

    def do_GET(self) -> None:
        if not self.path.startswith(f"{PREFIX}/"):
            self.send_error(404)
            return
        path = self.path.removeprefix(PREFIX) if self.strips else self.path
        size = int(self.headers.get("Content-Length", 0))
        headers = {**self.headers, "Host": "localhost", "Accept-Encoding": "identity"}
        headers |= FORWARDED if self.strips else MOUNTED
        asked = HTTPConnection(*self.service, timeout=30)
        asked.request(self.command, path, self.rfile.read(size), headers)
        answer = asked.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def proxying(service: str, *, strips: bool) -> Iterator[str]:
    """The address of the service through a proxy, with the prefix."""
    place = urlsplit(service)
    kind = type("_", (Proxy,), {"service": (place.hostname, place.port), "strips": strips})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{PREFIX}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def gunicorn(app: Flask, settings: Settings) -> Iterator[str]:
    """The service as it is run, in a process of its own."""
    port = free_port()
    process = subprocess.Popen(
        [*SAFE_PYTHON, "-m", "polyseme.stack.serve", "-w", "1", "-b", f"127.0.0.1:{port}"],
        cwd=REPOSITORY,
        env=os.environ | settings.to_environ(),
    )
    try:
        yield wait_until_live(f"http://127.0.0.1:{port}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@pytest.mark.parametrize(
    ("script_name", "path", "place"),
    [
        (PREFIX, "/v1/jobs", f"{PREFIX}/v1/jobs/"),
        (f"{PREFIX}/", f"{PREFIX}/v1/jobs", f"{PREFIX}/v1/jobs/"),
        ("https://evil.example", "/v1/jobs", "/v1/jobs/"),
        ("//evil.example", "/v1/jobs", "/v1/jobs/"),
    ],
)
def test_gunicorn_serves_whatever_a_proxy_makes_of_script_name(
    script_name: str, path: str, place: str, gunicorn: str
) -> None:
    answer = httpx.post(gunicorn + path, json=BODY, headers={"SCRIPT_NAME": script_name})

    assert answer.status_code == 202
    assert answer.headers["Location"].startswith(place)


@pytest.fixture
def result(board: Board, store: Store, app: Flask) -> Job:
    """A job with senses."""
    job = open_job(board)
    write_result(store, job.id, contexts=18, senses=True)
    return run_job(board, job.id)


@pytest.mark.parametrize("strips", [True, False], ids=["X-Forwarded-Prefix", "SCRIPT_NAME"])
def test_a_client_and_a_crawler_find_everything_through_the_proxy(
    strips: bool, gunicorn: str, result: Job
) -> None:
    with proxying(gunicorn, strips=strips) as url:
        with Polyseme(url) as client:
            for _ in range(3):
                client.submit(BODY)
            assert len(list(client.jobs(limit=2))) == 4
            assert client.neuron(result.id, 0, 1).job == result.id
        view = f"/ui/jobs/{result.id}/neurons/0/1"
        seen, waiting = set[str](), [f"{url}/", f"{url}/docs", url + view, f"{url}/v1/jobs"]
        with httpx.Client(timeout=30) as http:
            while waiting:
                place = waiting.pop()
                seen.add(place)
                answer = http.get(place)
                is_page = "html" in answer.headers.get("Content-Type", "")
                named = re.findall(r'(?:href|src)="([^"#]+)"', answer.text) if is_page else []
                if "json" in answer.headers.get("Content-Type", ""):
                    named += [k for k in links_of(answer.json()) if not re.search("cancel$", k)]
                # Some of them take a POST alone, or have nothing before their job has ended.
                assert answer.status_code in (200, 405, 409), place
                found = {urljoin(place, link) for link in named}
                assert all(link.startswith(f"{url}/") for link in found), (place, found)
                waiting += sorted(found - seen - set(waiting))

        assert {f"{url}/static/app.js", f"{url}/docs/swagger-ui.css"} <= seen
        assert f"{url}/v1/jobs/{result.id}/neurons" in seen


@pytest.mark.parametrize("strips", [True, False], ids=["X-Forwarded-Prefix", "SCRIPT_NAME"])
def test_a_browser_walks_through_the_dashboard_below_the_path(
    strips: bool, gunicorn: str, result: Job
) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if (path := find_chromium()) is None:
        pytest.skip("no Chromium was found: install one, or name it in CHROMIUM")
    asked: list[str] = []
    errors: list[str] = []
    with proxying(gunicorn, strips=strips) as url, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda r: asked.append(r.url))
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: errors.append(str(e)))

        page.goto(f"{url}/")
        page.get_by_role("link", name=f"…{result.id[-8:]}").click()
        page.get_by_role("link", name="See all neurons").click()
        page.locator("table.neurons tbody a").first.click()
        page.locator(".senses .card").first.wait_for()
        assert page.url.startswith(f"{url}/ui/jobs/{result.id}/neurons/")
        page.reload()
        page.locator(".senses .card").first.wait_for()
        hrefs = page.locator("a[href]").evaluate_all("all => all.map(a => a.href)")
        page.goto(page.url.replace("/ui/", "/embed/"))
        page.locator(".embed .card").first.wait_for()
        hrefs += page.locator("a[href]").evaluate_all("all => all.map(a => a.href)")
        page.goto(f"{url}/docs")
        page.get_by_text("/v1/jobs", exact=True).first.wait_for()
        browser.close()

    assert errors == []
    assert all(a.startswith((f"{url}/", "data:")) for a in asked), asked
    assert hrefs
    assert all(h.startswith(f"{url}/") or h.endswith("#main") for h in hrefs), hrefs
