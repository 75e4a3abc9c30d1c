from __future__ import annotations

from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from polyseme.contract.records.job import Job
from polyseme.contract.settings import Settings
from polyseme.service.app import create_app
from polyseme.service.http.embeds import parse_origins

ORIGIN = "https://notes.example"


@pytest.fixture
def open_http(settings: Settings, app: Flask) -> FlaskClient:
    return create_app(
        replace(settings, embed_origins=f"{ORIGIN}, http://127.0.0.1:8080")
    ).test_client()


def rules(http: FlaskClient, path: str) -> dict[str, str]:
    policy = http.get(path).headers["Content-Security-Policy"]
    return dict(rule.partition(" ")[::2] for rule in policy.split("; "))


def test_no_page_may_frame_a_neuron_unless_its_origin_is_allowed(
    http: FlaskClient, open_http: FlaskClient, done: Job
) -> None:
    path = f"/embed/jobs/{done.id}/neurons/1/2?theme=dark"

    assert rules(http, path)["frame-ancestors"] == "'none'"
    assert rules(open_http, path)["frame-ancestors"] == f"{ORIGIN} http://127.0.0.1:8080"
    assert rules(open_http, path)["script-src"] == "'self'"


@pytest.mark.parametrize("path", ["/", "/ui/jobs", "/docs", "/v1/models"])
def test_nothing_else_may_be_framed(path: str, open_http: FlaskClient) -> None:
    assert rules(open_http, path)["frame-ancestors"] == "'none'"


def test_only_allowed_pages_load_the_element_and_none_reads_data(open_http: FlaskClient) -> None:
    def allowed(path: str, origin: str) -> str | None:
        return open_http.get(path, headers={"Origin": origin}).headers.get(
            "Access-Control-Allow-Origin"
        )

    assert allowed("/static/polyseme-neuron.js", ORIGIN) == ORIGIN
    assert allowed("/static/polyseme-neuron.js", "https://other.example") is None
    assert allowed("/static/app.js", ORIGIN) is None
    assert allowed("/v1/models", ORIGIN) is None
    assert "Origin" in open_http.get("/static/polyseme-neuron.js").headers["Vary"]


@pytest.mark.parametrize(
    "text",
    ["*", "https://*.example", "example.org", "https://a.example/x", "https://a; script-src *"],
)
def test_what_is_no_origin_stops_the_service(text: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        parse_origins(text)
