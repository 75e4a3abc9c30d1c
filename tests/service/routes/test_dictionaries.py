from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from polyseme.contract.board.board import Board
from polyseme.contract.settings import Settings
from tests.factories import MODEL, make_dictionary


@pytest.fixture(autouse=True)
def catalogue(settings: Settings, board: Board) -> None:
    """Two dictionaries of the model, one of them read, and one of another model."""
    with open(settings.catalogue, "a") as file:
        for name, model in (("mlp-1", MODEL), ("mlp-2", MODEL), ("other", "unseen")):
            file.write(f'[[dictionaries]]\nid = "{name}"\nmodel = "{model}"\npath = "d/{name}"\n')
    board.registry.put_dictionary(make_dictionary(prepend_bos=False, context_size=256))


def test_dictionaries_are_listed_with_what_workers_read(http: FlaskClient, board: Board) -> None:
    board.registry.put_dictionary(make_dictionary(id="bad", latents=7, error="bad: no cfg.json"))

    found = {d["id"]: d for d in http.get("/v1/dictionaries").get_json()["data"]}

    assert {name: d["state"] for name, d in found.items()} == {
        "bad": "unusable",
        "mlp-1": "ready",
        "mlp-2": "undescribed",
        "other": "undescribed",
    }
    assert found["mlp-1"] == {
        "id": "mlp-1",
        "object": "dictionary",
        "model": MODEL,
        "state": "ready",
        "source": "path:mlp-1",
        "hook": "blocks.1.mlp.hook_post",
        "layer": 1,
        "site": "mlp",
        "architecture": "topk",
        "latents": 64,
        "width": 48,
        "format": "saelens",
        "sha256": "0a" * 32,
        "neuronpedia": "tiny/1-mlp-64",
        "expected_l0": 8.0,
        "prepend_bos": False,
        "context_size": 256,
        "error": None,
    }
    assert (found["bad"]["latents"], found["bad"]["error"]) == (None, "bad: no cfg.json")
    assert (found["mlp-2"]["latents"], found["mlp-2"]["source"]) == (None, "path:mlp-2")


def test_the_list_is_of_one_model_where_that_is_asked(http: FlaskClient) -> None:
    def ids(model: str) -> list[str]:
        found = http.get(f"/v1/dictionaries?model={model}").get_json()["data"]
        return [d["id"] for d in found]

    assert (ids(MODEL), ids("unseen"), ids("nothing")) == (["mlp-1", "mlp-2"], ["other"], [])


def test_one_dictionary_is_read_by_its_id(http: FlaskClient) -> None:
    assert http.get("/v1/dictionaries/mlp-1").get_json()["latents"] == 64
    assert http.get("/v1/dictionaries/mlp-2").get_json()["state"] == "undescribed"
    answer = http.get("/v1/dictionaries/nothing")
    assert (answer.status_code, answer.get_json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(("query", "pointer"), [("model=A b", "/model"), ("site=mlp", "/site")])
def test_a_parameter_that_is_none_is_named(http: FlaskClient, query: str, pointer: str) -> None:
    answer = http.get(f"/v1/dictionaries?{query}")

    assert answer.status_code == 422
    assert [e["pointer"] for e in answer.get_json()["errors"]] == [pointer]


def test_only_an_administrator_is_shown_where_a_dictionary_lies(
    http: FlaskClient, board: Board, settings: Settings, key: str
) -> None:
    folder = str(Path(settings.catalogue).parent)
    board.registry.put_dictionary(make_dictionary(id="bad", error=f"{folder}/mine/x: damaged"))
    reader = board.accounts.create_key("default", ("read", "submit"))[1]

    def show(secret: str, path: str) -> str:
        return http.get(path, headers={"Authorization": f"Bearer {secret}"}).get_data(as_text=True)

    for path in ("/v1/dictionaries", "/v1/dictionaries/bad"):
        assert folder in show(key, path)
        assert folder not in show(reader, path)
        assert "…/x: damaged" in show(reader, path)


def test_a_catalogue_that_cannot_be_read_is_the_services_fault(
    http: FlaskClient, settings: Settings
) -> None:
    Path(settings.catalogue).write_text('[[dictionaries]]\nid = "a"\n')

    answer = http.get("/v1/dictionaries")

    assert (answer.status_code, answer.get_json()["code"]) == (503, "unavailable")
