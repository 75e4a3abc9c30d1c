from __future__ import annotations

from pathlib import Path

from flask.testing import FlaskClient

from polyseme.contract.board.board import Board
from polyseme.contract.settings import Settings
from tests.factories import MODEL, make_body, make_card


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
    mlp = {"site": "mlp", "units": 48, "hook": hook, "signed": True}
    assert found[MODEL]["sites"] == [mlp | {"why_not": None, "head_size": None}]
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


def test_only_an_administrator_is_shown_where_a_model_lies(
    http: FlaskClient, board: Board, settings: Settings, key: str
) -> None:
    folder = str(Path(settings.catalogue).parent)
    card = make_card(id="broken", source=f"path:{folder}/mine", error=f"{folder}/mine/x: damaged")
    board.registry.put_card(card)
    reader = board.accounts.create_key("default", ("read", "submit"))[1]

    def show(secret: str, path: str) -> str:
        return http.get(path, headers={"Authorization": f"Bearer {secret}"}).get_data(as_text=True)

    for path in ("/v1/models", "/v1/models/broken"):
        assert folder in show(key, path)
        assert folder not in show(reader, path)
        assert "path:mine" in show(reader, path)
        assert "…/x: damaged" in show(reader, path)


def test_no_refusal_names_a_folder(
    http: FlaskClient, board: Board, settings: Settings, key: str
) -> None:
    folder = str(Path(settings.catalogue).parent)
    board.registry.put_card(make_card(id="broken", error=f"{folder}/mine/x: damaged"))
    headers = {"Authorization": f"Bearer {key}"}
    answers = [http.post("/v1/jobs", json=make_body(model="broken"), headers=headers)]
    Path(settings.catalogue).unlink()
    answers.append(http.get("/v1/models", headers=headers))

    assert [a.status_code for a in answers] == [422, 503]
    for answer in answers:
        assert folder not in answer.get_data(as_text=True)
