"""The documents say what the code does: links, examples, settings, columns and paths."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from marshmallow import Schema

from polyseme.contract.board.board import Board
from polyseme.contract.files.results import SCALARS
from polyseme.contract.records.request import AnalysisRequest
from polyseme.contract.settings import Settings
from polyseme.service.app import create_app
from polyseme.service.http.problem_schema import ProblemSchema
from polyseme.service.schemas.activations import ActivationsSchema
from polyseme.service.schemas.batches import BatchSchema
from polyseme.service.schemas.neurons import NeuronListSchema, NeuronSchema
from tests.service.conftest import make_settings

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
SERVICE = "http://127.0.0.1:8000"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def without_code(text: str) -> str:
    return re.sub(r"(?ms)^```.*?^```|`[^`\n]*`", "", text)


def anchors(page: Path) -> set[str]:
    """GitHub's anchors of a page's headings."""
    headings = re.findall(
        r"(?m)^#+ (.+)$", re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8"))
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", text)


def section(name: str, heading: str) -> str:
    _, found, rest = read(name).partition(f"\n## {heading}\n")
    assert found, heading
    return rest.partition("\n## ")[0]


def json_after(name: str, heading: str) -> Any:
    """The first JSON block under a heading."""
    return json.loads(blocks(section(name, heading), "json")[0])


def field_names(schema: Schema) -> set[str]:
    return {field.data_key or name for name, field in schema.fields.items()}


def settings_rows() -> dict[str, tuple[str, str]]:
    """Variable and default by setting, from the table of the operations page."""
    rows = re.findall(
        r"(?m)^\| `(\w+)` \| `(POLYSEME_\w+)` \| (?:`([^`]+)`|empty) \|", read("docs/operations.md")
    )
    return {setting: (variable, default) for setting, variable, default in rows}


def default_text(setting: str) -> str:
    (field,) = (f for f in fields(Settings) if f.name == setting)
    assert field.default is not MISSING
    return str(field.default)


def curl_calls(text: str) -> list[tuple[str, str]]:
    """Method and URL of every curl in the shell blocks."""
    found = []
    for block in blocks(text, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] != ["curl"]:
                continue
            method = words[words.index("-X") + 1] if "-X" in words else "GET"
            found.append((method, next(w for w in words if w.startswith(SERVICE))))
    return found


@pytest.fixture
def document(redis_url: str, board: Board, tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = (
        create_app(make_settings(redis_url, tmp_path)).test_client().get("/openapi.json").get_json()
    )
    return found


def find_path(document: dict[str, Any], path: str) -> dict[str, Any] | None:
    for template, item in document["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/{}]+", template), path) or template == path:
            return dict(item)
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_json_block_parses(page: Path) -> None:
    for block in blocks(page.read_text(encoding="utf-8"), "json"):
        assert json.loads(block)


def test_the_documented_request_has_every_field_with_its_default() -> None:
    example = json_after("docs/api.md", "A request")

    assert example == AnalysisRequest("smollm2-135m-instruct", "sample").to_dict()


def test_every_field_of_a_request_is_explained() -> None:
    request = AnalysisRequest("m", "c").to_dict()
    names = {
        f"{part}.{name}"
        for part in ("neurons", "contexts", "tokens", "senses")
        for name in request[part]
    }

    assert names <= set(re.findall(r"`([\w.]+)`", read("docs/api.md")))


def test_the_documented_answers_have_the_fields_of_their_schemas() -> None:
    listed, report = map(json.loads, blocks(section("docs/api.md", "Neurons"), "json"))

    assert set(listed) == field_names(NeuronListSchema())
    assert set(report) == field_names(NeuronSchema())
    assert set(report["stats"]) == field_names(NeuronSchema().fields["stats"].schema)
    assert set(report["contexts"][0]) == field_names(NeuronSchema().fields["contexts"].inner.schema)
    assert set(json_after("docs/api.md", "Errors")) == field_names(ProblemSchema())


def test_the_documented_batch_has_the_fields_of_its_schema() -> None:
    answer, schema = json_after("docs/api.md", "Batches"), BatchSchema()
    entry = schema.fields["entries"].inner.schema

    assert schema.validate(answer) == {}
    assert set(answer) == field_names(schema)
    assert set(answer["counts"]) == field_names(schema.fields["counts"].schema)
    assert all(set(e) == field_names(entry) for e in answer["entries"])


def test_the_documented_live_check_has_the_fields_of_its_schemas() -> None:
    answer, schema = json_after("docs/api.md", "Live check"), ActivationsSchema()
    neuron = schema.fields["neurons"].inner.schema

    assert set(answer) == field_names(schema)
    assert set(answer["tokens"][0]) == field_names(schema.fields["tokens"].inner.schema)
    assert set(answer["neurons"][0]) == field_names(neuron)
    for name in ("peaks", "cross_activations"):
        assert set(answer["neurons"][0][name][0]) == field_names(neuron.fields[name].inner.schema)


def test_the_settings_table_is_the_settings() -> None:
    rows = settings_rows()

    assert set(rows) == {f.name for f in fields(Settings)}
    for setting, (variable, default) in rows.items():
        assert variable == f"POLYSEME_{setting.upper()}"
        assert default == default_text(setting)


def test_every_number_of_a_neuron_has_an_entry() -> None:
    headings = " ".join(re.findall(r"(?m)^### (.+)$", read("docs/measures.md")))
    entries = set(re.findall(r"`(\w+)`", headings))

    assert {f.name for f in SCALARS} - {"peak_token_ids", "peak_texts"} <= entries
    stats = field_names(NeuronSchema().fields["stats"].schema)
    assert stats | {"peak_tokens", "bands", "contexts", "logits"} <= entries


def test_every_curl_is_a_call_that_the_service_takes(document: dict[str, Any]) -> None:
    calls = [call for page in PAGES for call in curl_calls(page.read_text(encoding="utf-8"))]

    assert len(calls) >= 8
    for method, url in calls:
        parts = urlsplit(url)
        item = find_path(document, parts.path)
        assert item is not None, url
        assert method.lower() in item, url
        allowed = {
            p["name"] for p in item[method.lower()].get("parameters", []) if p["in"] == "query"
        }
        assert {name for name, _ in parse_qsl(parts.query)} <= allowed, url


def test_the_table_of_paths_is_the_openapi_document(document: dict[str, Any]) -> None:
    written = set(re.findall(r"`(GET|POST|DELETE) (/[^`?]*)`", section("docs/api.md", "Paths")))

    served = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item
        if method in ("get", "post", "put", "patch", "delete")
    }
    assert written == served
