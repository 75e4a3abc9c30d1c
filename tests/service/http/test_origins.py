from __future__ import annotations

from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from polyseme.contract.records.job import Job
from polyseme.contract.settings import Settings
from polyseme.service.app import create_app
from polyseme.service.http.origins import parse_origins

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
        parse_origins("embed_origins", text)


@pytest.fixture
def shared(settings: Settings, app: Flask) -> FlaskClient:
    return create_app(replace(settings, cors_origins=ORIGIN)).test_client()


ASKING = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}


def test_a_page_that_may_ask_is_told_so_before_it_has_a_key(shared: FlaskClient, key: str) -> None:
    answer = shared.options("/v1/jobs", headers=ASKING)

    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "DELETE" in answer.headers["Access-Control-Allow-Methods"]
    sent = answer.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"Authorization", "Content-Type", "If-None-Match", "Prefer"} <= set(sent)
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_its_answers_and_refusals_can_be_read_with_their_headers(
    shared: FlaskClient, key: str
) -> None:
    own = {"Authorization": f"Bearer {key}", "Origin": ORIGIN}
    answer, refused = (
        shared.get("/v1/models", headers=headers) for headers in (own, {"Origin": ORIGIN})
    )

    assert (answer.status_code, refused.status_code) == (200, 401)
    for found in (answer, refused):
        assert found.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "ETag" in found.headers["Access-Control-Expose-Headers"].split(", ")
        assert "Origin" in found.headers["Vary"]


@pytest.mark.parametrize("origin", ["https://other.example", "null", ""])
def test_no_other_page_is_told_anything(shared: FlaskClient, origin: str) -> None:
    asked = shared.options("/v1/jobs", headers=ASKING | {"Origin": origin})
    read = shared.get("/livez", headers={"Origin": origin})

    assert "Access-Control-Allow-Origin" not in {**asked.headers, **read.headers}
    assert "Access-Control-Allow-Methods" not in asked.headers


def test_unless_it_is_set_no_page_may_ask(http: FlaskClient) -> None:
    answer = http.options("/v1/jobs", headers=ASKING)

    assert not any(name.startswith("Access-Control") for name, _ in answer.headers)


def test_pages_for_people_are_no_part_of_it(shared: FlaskClient) -> None:
    answer = shared.get("/ui/jobs", headers={"Origin": ORIGIN})

    assert "Access-Control-Allow-Origin" not in answer.headers
