from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
def document(http: FlaskClient) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/openapi.json").get_json()
    return found


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        op for path in document["paths"].values() for name, op in path.items() if name in METHODS
    ]


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_is_documented(app: Flask, document: dict[str, Any]) -> None:
    undocumented = {
        "/openapi.json",
        "/docs",
        "/docs/{name}",
        "/guide",
        "/guide/{name}",
        "/",
        "/ui",
        "/ui/{view}",
        "/embed/{view}",
        "/static/{name}",
    }
    routes = {
        re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule) for rule in app.url_map.iter_rules()
    } - undocumented

    assert set(document["paths"]) == routes


def test_every_operation_has_an_id_a_summary_and_its_errors(document: dict[str, Any]) -> None:
    found = operations(document)

    assert len({op["operationId"] for op in found}) == len(found) == 38
    for op in found:
        assert op["summary"]
        assert {"422", "500", "503"} <= set(op["responses"])
        assert all(r["description"] for r in op["responses"].values())
        problems = [r for status, r in op["responses"].items() if status >= "400"]
        assert all("application/problem+json" in r["content"] for r in problems)


def test_every_answer_has_a_request_id(document: dict[str, Any]) -> None:
    for op in operations(document):
        assert all("X-Request-Id" in response["headers"] for response in op["responses"].values())


def test_defaults_and_choices_are_those_of_the_contract(document: dict[str, Any]) -> None:
    contexts = document["components"]["schemas"]["Contexts"]

    assert contexts["properties"]["window"]["description"].endswith("Default: 128.")
    assert contexts["properties"]["sampling"]["enum"] == ["activation", "interval", "quantile"]
    assert contexts["additionalProperties"] is False
    senses = document["components"]["schemas"]["Senses"]["properties"]
    assert senses["same_at"]["description"].endswith("Default: 0.35.")
    assert senses["vectors"]["enum"] == ["residual", "residual+encoder", "window"]
    assert senses["alpha"]["deprecated"]


def test_what_has_a_default_need_not_be_sent_and_is_in_every_answer(
    document: dict[str, Any],
) -> None:
    """Generated clients make of a `default` what has to be sent, or always is."""
    schemas = document["components"]["schemas"]

    assert schemas["Analysis"]["required"] == ["corpus", "model"]
    for part in ("Contexts", "Neurons", "Tokens", "Senses"):
        sent, shown = schemas[part], schemas[f"Job{part}"]
        assert "required" not in sent
        assert not any("default" in field for field in sent["properties"].values())
        assert sorted(shown["required"]) == sorted(set(sent["properties"]) - {"alpha", "hook"})
    shown = schemas["JobRequest"]
    assert sorted(shown["required"]) == sorted(shown["properties"])
    assert shown["properties"]["contexts"] == {"$ref": "#/components/schemas/JobContexts"}


def test_no_schema_is_of_requests_and_answers(document: dict[str, Any]) -> None:
    sent: set[str] = set()
    answered: set[str] = set()
    for operation in operations(document):
        sent |= named(operation.get("requestBody", {}), document)
        answered |= named(operation["responses"], document)

    assert sent & answered == set()


def named(part: Any, document: dict[str, Any]) -> set[str]:
    """The schemas that a part of the document leads to."""
    found: set[str] = set()
    open_ones = [part]
    while open_ones:
        here = open_ones.pop()
        if isinstance(here, dict):
            name = str(here.get("$ref", "")).rpartition("/")[2]
            if name in document["components"]["schemas"] and name not in found:
                found.add(name)
                open_ones.append(document["components"]["schemas"][name])
            open_ones += here.values()
        elif isinstance(here, list):
            open_ones += here
    return found


def test_the_submit_operation_has_its_headers_and_an_example(document: dict[str, Any]) -> None:
    submit = document["paths"]["/v1/jobs"]["post"]

    assert {p["name"] for p in submit["parameters"]} == {"dry_run", "Idempotency-Key", "Prefer"}
    assert submit["requestBody"]["content"]["application/json"]["example"]["model"]
    assert {"Location", "Retry-After", "ETag"} <= set(submit["responses"]["202"]["headers"])
