from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from polyseme.service.http.secure_headers import APP_POLICY, DATA_POLICY, PAGE_POLICY
from tests.factories import make_body

ANSWERS = {
    "data": ("GET", "/v1/models", 200),
    "a refusal": ("GET", "/v1/jobs?limit=0", 422),
    "nothing there": ("GET", "/nothing", 404),
    "a wrong method": ("PUT", "/v1/jobs", 405),
    "the document": ("GET", "/openapi.json", 200),
    "a health check": ("GET", "/livez", 200),
    "metrics": ("GET", "/metrics", 200),
    "a script of the docs": ("GET", "/docs/start.js", 200),
    "the docs": ("GET", "/docs", 200),
    "the dashboard": ("GET", "/", 200),
    "a view of the dashboard": ("GET", "/ui/jobs?status=failed", 200),
    "its script": ("GET", "/static/app.js", 200),
}
POLICIES = {"/docs": PAGE_POLICY, "/": APP_POLICY, "/ui/jobs?status=failed": APP_POLICY}


@pytest.mark.parametrize("answer", ANSWERS)
def test_every_answer_has_them(answer: str, http: FlaskClient) -> None:
    method, path, status = ANSWERS[answer]

    found = http.open(path, method=method)

    assert found.status_code == status
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    assert found.headers["X-Frame-Options"] == "DENY"
    assert found.headers["Referrer-Policy"] == "no-referrer"
    assert found.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert found.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert found.headers.getlist("Content-Security-Policy") == [POLICIES.get(path, DATA_POLICY)]
    assert "Strict-Transport-Security" not in found.headers
    assert "Access-Control-Allow-Origin" not in found.headers


def test_https_is_kept_to_only_where_it_was_used(http: FlaskClient) -> None:
    assert "Strict-Transport-Security" in http.get("/livez", base_url="https://localhost").headers


def test_no_policy_lets_scripts_of_others_or_inline_ones_run() -> None:
    for policy in (DATA_POLICY, PAGE_POLICY, APP_POLICY):
        rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
        assert rules.get("script-src", "'none'") in ("'none'", "'self'")
        assert policy == PAGE_POLICY or "unsafe" not in policy
        assert rules["default-src"] == rules["frame-ancestors"] == "'none'"


@pytest.mark.parametrize("name", ["X-Request-Id", "Idempotency-Key", "Prefer", "If-None-Match"])
@pytest.mark.parametrize("text", ["a\u000d\u000aSet-Cookie: a=b", "a\u0085b", "<script>", "é"])
def test_what_a_client_sends_in_a_header_makes_no_header(
    name: str, text: str, http: FlaskClient
) -> None:
    environ = {f"HTTP_{name.upper().replace('-', '_')}": text}

    answer = http.post("/v1/jobs", json=make_body(), environ_overrides=environ)

    assert "Set-Cookie" not in answer.headers
    assert all(text not in value for value in answer.headers.values())
