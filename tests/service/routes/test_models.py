from __future__ import annotations

from pathlib import Path

from flask.testing import FlaskClient

from polyseme.contract.board.board import Board
from polyseme.contract.settings import Settings
from tests.factories import MODEL, make_card


def test_listed_models_come_with_what_workers_found_out(http: FlaskClient, board: Board) -> None:
    board.registry.put_card(make_card(id="broken", error="no such architecture"))

    found = {m["id"]: m for m in http.get("/v1/models").get_json()["data"]}

    assert {name: m["state"] for name, m in found.items()} == {
        MODEL: "ready",
        "unseen": "undescribed",
        "broken": "unusable",
    }
    hook = "blocks.{layer}.mlp.hook_post"
    assert (found[MODEL]["layers"], found[MODEL]["neurons"]) == (4, 48)
    assert found[MODEL]["sites"] == [{"site": "mlp", "units": 48, "hook": hook, "signed": True}]
    assert found["unseen"]["layers"] is None


def test_one_model_is_read_by_its_id(http: FlaskClient) -> None:
    assert http.get(f"/v1/models/{MODEL}").get_json()["family"] == "llama"
    assert http.get("/v1/models/nothing").status_code == 404


def test_a_catalogue_that_cannot_be_read_is_the_services_fault(
    http: FlaskClient, settings: Settings
) -> None:
    Path(settings.catalogue).write_text("[[models]]\nid = 3\n")

    answer = http.get("/v1/models")

    assert (answer.status_code, answer.get_json()["code"]) == (503, "unavailable")
