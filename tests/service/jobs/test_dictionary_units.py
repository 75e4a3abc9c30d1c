"""Jobs over dictionaries: what is refused of them, and what they become on the board."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from polyseme.contract.board.board import Board
from polyseme.contract.records.model_card import SiteCard
from polyseme.contract.settings import Settings
from polyseme.service.jobs.notes import MUCH_MEMORY
from tests.factories import MODEL, make_body, make_card, make_dictionary

RESIDUAL = {"site": "resid_post", "hook": "blocks.2.hook_resid_post", "layer": 2, "width": 16}


@pytest.fixture(autouse=True)
def dictionaries(settings: Settings, board: Board, http: FlaskClient) -> None:
    """Of every kind that a request may name."""
    with open(settings.catalogue, "a") as file:
        file.write(f'[[dictionaries]]\nid = "unread"\nmodel = "{MODEL}"\npath = "d"\n')
    sites = (
        SiteCard("mlp", 48, "blocks.{layer}.mlp.hook_post", signed=True),
        SiteCard("resid_post", 16, "blocks.{layer}.hook_resid_post", signed=True),
        SiteCard("mlp_in", 0, "blocks.{layer}.hook_mlp_in", signed=True, why_not="it is fused"),
    )
    board.registry.put_card(make_card(sites=sites))
    for changes in (
        {},
        {"id": "mlp-3", "layer": 3},
        {"id": "mlp-1-wide", "latents": 128},
        {"id": "mlp-3-wide", "layer": 3, "latents": 128},
        {"id": "res-2", **RESIDUAL},
        {"id": "res-9", **RESIDUAL, "layer": 9},
        {"id": "res-narrow", **RESIDUAL, "width": 12},
        {"id": "fused", "site": "mlp_in", "hook": "blocks.0.ln2.hook_normalized", "layer": 0},
        {"id": "strange", "site": "elsewhere"},
        {"id": "bad", "error": "bad: /secret/place/cfg.json: no file", "layer": 0},
        {"id": "foreign", "model": "another"},
    ):
        board.registry.put_dictionary(make_dictionary(**changes))


def submit(http: FlaskClient, dictionary: Any, **more: Any) -> dict[str, Any]:
    neurons = {"dictionary": dictionary} | more.pop("neurons", {})
    answer = http.post("/v1/jobs", json=make_body(neurons=neurons, **more))
    assert answer.status_code == 202, answer.get_data(as_text=True)
    found: dict[str, Any] = answer.get_json()
    return found


def refuse(http: FlaskClient, dictionary: Any, **more: Any) -> list[tuple[str, str]]:
    """Pointer and detail of each thing that is wrong."""
    neurons = {"dictionary": dictionary} | more.pop("neurons", {})
    answer = http.post("/v1/jobs", json=make_body(neurons=neurons, **more))
    assert answer.status_code == 422, answer.get_data(as_text=True)
    return [(e["pointer"], e["detail"]) for e in answer.get_json()["errors"]]


def test_one_dictionary_settles_site_layers_and_tails(http: FlaskClient, board: Board) -> None:
    shown = submit(http, "mlp-1", neurons={"indices": "60-63"})

    assert shown["request"]["neurons"] == {
        "site": "dictionary",
        "layers": "1",
        "indices": "60-63",
        "vectors": None,
        "dictionary": ["mlp-1"],
    }
    assert shown["request"]["contexts"]["tails"] == "positive"
    job = board.jobs.get(shown["id"])
    assert job is not None
    neurons = job.analysis.neurons
    assert (neurons.site, neurons.layers, neurons.dictionary) == ("dictionary", "1", ("mlp-1",))


def test_several_are_put_in_the_order_of_their_layers(http: FlaskClient, board: Board) -> None:
    shown = submit(http, ["mlp-3", "mlp-1"])

    job = board.jobs.get(shown["id"])
    assert job is not None
    assert job.analysis.neurons.dictionary == ("mlp-1", "mlp-3")
    assert job.analysis.neurons.layers == "1,3"


def test_a_job_stays_readable_and_can_be_listed(http: FlaskClient) -> None:
    shown = submit(http, "mlp-1")

    read = http.get(f"/v1/jobs/{shown['id']}").get_json()
    listed = http.get("/v1/jobs").get_json()["data"]

    assert read["request"] == shown["request"] == listed[0]["request"]


def test_the_first_position_is_left_out_of_latents_of_the_residual_stream(
    http: FlaskClient, board: Board
) -> None:
    def excluded(dictionary: str, **tokens: Any) -> int:
        shown = submit(http, dictionary, tokens=tokens)
        found: int = shown["request"]["tokens"]["exclude_positions"]
        return found

    assert (excluded("res-2"), excluded("mlp-1")) == (1, 0)
    assert excluded("res-2", bos="always") == 0
    assert excluded("res-2", exclude_positions=0) == 0


@pytest.mark.parametrize(
    ("dictionary", "pointer", "said"),
    [
        ("nothing", "", f"dictionary 'nothing': {MODEL} has bad, fused, mlp-1, mlp-1-wide, mlp-3"),
        (["mlp-1", "nothing"], "/1", "dictionary 'nothing'"),
        ("foreign", "", f"dictionary foreign is of another, not of {MODEL}"),
        (["foreign", "mlp-1"], "/0", "dictionary foreign is of another"),
        ("bad", "", "dictionary bad cannot be used: bad: …/cfg.json: no file"),
        ("res-9", "", f"dictionary res-9 is of layer 9; {MODEL} has layers 0 to 3"),
        ("res-narrow", "", "reads 12 numbers at blocks.2.hook_resid_post; there are 16"),
        ("fused", "", "reads blocks.0.ln2.hook_normalized: site mlp_in of tiny-gated: it is fused"),
        ("strange", "", "site 'elsewhere' of tiny-gated: it has mlp, resid_post"),
        (["mlp-1", "mlp-1-wide"], "", "mlp-1 and mlp-1-wide are of layer 1"),
        (["mlp-1", "res-2"], "", "read one site: mlp-1 mlp, res-2 resid_post"),
        (["mlp-1", "mlp-3-wide"], "", "mlp-1 64 latents, mlp-3-wide 128 latents"),
        (["mlp-1", "mlp-1"], "", "mlp-1 is given twice"),
        ([], "", "a list has 1 to 256 ids"),
        (["mlp-1", 3], "/1", "expected a dictionary's id"),
        ("Not An Id", "", "expected a dictionary's id"),
        (3, "", "expected a dictionary's id, or a list of ids"),
    ],
)
def test_what_is_wrong_with_a_choice_is_said_with_its_pointer(
    http: FlaskClient, dictionary: Any, pointer: str, said: str
) -> None:
    found = refuse(http, dictionary)

    assert (f"/neurons/dictionary{pointer}", True) in [(at, said in what) for at, what in found]
    assert "/secret" not in str(found)


@pytest.mark.parametrize(
    ("name", "value"),
    [("site", "mlp"), ("layers", "1"), ("hook", "blocks.1.mlp.hook_post")],
)
def test_what_a_dictionary_says_is_not_said_beside_it(
    http: FlaskClient, name: str, value: str
) -> None:
    ((pointer, said),) = refuse(http, "mlp-1", neurons={name: value})

    assert pointer == f"/neurons/{name}"
    assert said == (
        f"{name} and dictionary: a dictionary says where its latents are; leave {name} out"
    )


def test_latents_have_no_negative_tail(http: FlaskClient) -> None:
    ((pointer, said),) = refuse(http, "mlp-1", contexts={"tails": "both"})

    assert (pointer, "never negative" in said) == ("/contexts/tails", True)
    assert submit(http, "mlp-1", contexts={"tails": "positive"})


def test_a_latent_that_is_not_there_is_refused(http: FlaskClient) -> None:
    ((pointer, said),) = refuse(http, "mlp-1", neurons={"indices": "64"})

    assert (pointer, said) == (
        "/neurons/indices",
        f"neuron 64 of {MODEL}: a layer has 0 to 63",
    )


def test_the_site_of_dictionaries_needs_one(http: FlaskClient) -> None:
    answer = http.post("/v1/jobs", json=make_body(neurons={"site": "dictionary"}))

    assert answer.status_code == 422
    (error,) = answer.get_json()["errors"]
    assert error == {
        "pointer": "/neurons/dictionary",
        "detail": "site dictionary: send `dictionary`, an id of GET /v1/dictionaries",
    }
    assert submit(http, "mlp-1", neurons={"site": "dictionary"})


def test_no_dictionary_is_neurons(http: FlaskClient) -> None:
    shown = submit(http, None, neurons={"layers": [0]})

    assert (shown["request"]["neurons"]["site"], shown["request"]["neurons"]["dictionary"]) == (
        "mlp",
        None,
    )


def test_one_that_no_worker_has_read_yet_is_to_be_tried_again(http: FlaskClient) -> None:
    answer = http.post("/v1/jobs", json=make_body(neurons={"dictionary": "unread"}))

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "no worker has read the dictionary unread yet" in answer.get_json()["detail"]


def test_a_dry_run_counts_latents(http: FlaskClient) -> None:
    body = make_body(neurons={"dictionary": ["mlp-1", "mlp-3"], "indices": "0-9"})

    plan = http.post("/v1/jobs?dry_run=true", json=body).get_json()

    assert (plan["neurons"], plan["layers"]) == (20, 2)
    assert plan["basis"]["depth"] == 1.0


def test_lists_that_take_much_memory_are_said_with_what_makes_them_smaller(
    http: FlaskClient, board: Board
) -> None:
    board.registry.put_dictionary(make_dictionary(id="huge", latents=1 << 20))

    def plan(**neurons: Any) -> dict[str, Any]:
        body = make_body(neurons={"dictionary": "huge", **neurons})
        found: dict[str, Any] = http.post("/v1/jobs?dry_run=true", json=body).get_json()
        return found

    all_of_it, some = plan(), plan(indices="0-9999")
    (note,) = [n for n in all_of_it["notes"] if n["code"] == "much_memory"]
    assert all_of_it["memory_bytes"] > MUCH_MEMORY > some["memory_bytes"]
    assert note["pointer"] == "/neurons/indices"
    assert note["message"].startswith("The lists of 1,048,576 units take ")
    assert "neurons.indices" in note["message"]
    assert "much_memory" not in [n["code"] for n in some["notes"]]


def test_a_batch_takes_jobs_over_dictionaries_and_refuses_with_a_pointer(http: FlaskClient) -> None:
    good, bad = (make_body(neurons={"dictionary": name}) for name in ("mlp-1", "nothing"))

    taken = http.post("/v1/batches", json={"jobs": [good, make_body()]})
    refused = http.post("/v1/batches", json={"jobs": [good, bad]})

    assert taken.status_code == 202
    assert refused.status_code == 422
    assert [e["pointer"] for e in refused.get_json()["errors"]] == ["/jobs/1/neurons/dictionary"]


def test_a_repeated_submit_makes_one_job(http: FlaskClient) -> None:
    body, headers = make_body(neurons={"dictionary": "mlp-1"}), {"Idempotency-Key": "k"}

    first = http.post("/v1/jobs", json=body, headers=headers)
    again = http.post("/v1/jobs", json=body, headers=headers)

    assert first.get_json()["id"] == again.get_json()["id"]
    assert again.headers["Idempotency-Replayed"] == "true"


def test_a_note_says_where_texts_are_read_otherwise_than_in_training(
    http: FlaskClient, board: Board
) -> None:
    board.registry.put_dictionary(
        make_dictionary(prepend_bos=True, context_size=256, loaded_with={"fold_ln": True})
    )

    def notes(**more: Any) -> dict[str, dict[str, Any]]:
        return {n["code"]: n for n in submit(http, "mlp-1", **more)["notes"]}

    found = notes()
    alike = notes(tokens={"bos": "always"}, contexts={"window": 256})

    note = found["dictionary_trained_otherwise"]
    assert note["message"].startswith(
        "Trained otherwise than texts are read here: mlp-1 on windows of 256 tokens and mlp-1 "
        "behind a BOS token; here windows have 128 tokens and texts are read without a BOS token."
    )
    assert note["message"].endswith(
        " Send contexts.window 256 and tokens.bos always to read them alike."
    )
    assert note["pointer"] == "/tokens/bos"
    assert "fold_ln" in found["dictionary_model_changed"]["message"]
    assert "dictionary_trained_otherwise" not in alike
    assert "dictionary_model_changed" in alike


def test_of_a_dictionary_that_says_nothing_of_its_training_nothing_is_said(
    http: FlaskClient, board: Board
) -> None:
    board.registry.put_dictionary(make_dictionary(loaded_with={"fold_ln": False}))

    codes = {n["code"] for n in submit(http, "mlp-1")["notes"]}

    assert codes & {"dictionary_trained_otherwise", "dictionary_model_changed"} == set()
