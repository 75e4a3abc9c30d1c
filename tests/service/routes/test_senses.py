"""Making the senses of a finished job anew, and reading a neuron's tree."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Store
from polyseme.contract.records.job import Job
from polyseme.service.schemas.neurons import ControlListSchema, NeuronSchema, TreeSchema
from tests.factories import open_job, run_job, write_result


@pytest.fixture
def grouped(http: FlaskClient, board: Board, store: Store) -> Job:
    """A finished job with senses."""
    job = open_job(board, contexts={"top_k": 20}, metadata={"project": "a"})
    write_result(store, job.id, contexts=24, senses=True)
    return run_job(board, job.id)


def regroup(http: FlaskClient, job: str, body: Any, **headers: str) -> Any:
    return http.post(f"/v1/jobs/{job}/senses", json=body, headers=headers)


def test_a_new_job_is_opened_with_what_changes(http: FlaskClient, grouped: Job) -> None:
    answer = regroup(http, grouped.id, {"same_at": 0.5, "metadata": {"project": "b"}})

    request = answer.json["request"]
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json['id']}"
    assert request["senses"] == {
        "enabled": True,
        "same_at": 0.5,
        "min_contexts": 4,
        "vectors": "residual",
    }
    assert (request["source_job"], request["metadata"]) == (grouped.id, {"project": "b"})
    assert request["contexts"] == grouped.request.to_dict()["contexts"]


def test_alpha_is_read_as_same_at_and_the_answer_says_so(
    http: FlaskClient, grouped: Job, board: Board, store: Store
) -> None:
    regrouped = regroup(http, grouped.id, {"alpha": 0.02})
    asked = regroup(http, grouped.id, {"same_at": 0.5})

    assert regrouped.json["request"]["senses"] == asked.json["request"]["senses"]
    assert regrouped.headers["Deprecation"] == "@1796083200"
    assert [note["message"] for note in regrouped.json["notes"]] == [
        "senses.alpha is deprecated: 0.02 was read as senses.same_at 0.5."
    ]
    assert "Deprecation" not in asked.headers
    assert asked.json["notes"] == []


def test_what_is_refused_says_what_to_send_instead(http: FlaskClient, grouped: Job) -> None:
    vectors = regroup(http, grouped.id, {"vectors": "neuron"}).json["errors"][0]["detail"]
    both = regroup(http, grouped.id, {"alpha": 0.05, "same_at": 0.35}).json["errors"][0]["detail"]

    assert vectors == "vectors of the neuron's own are made no more: use residual"
    assert both == "same_at says it already: leave alpha out"


def test_the_same_key_answers_the_same_job(http: FlaskClient, grouped: Job) -> None:
    first = regroup(http, grouped.id, {"same_at": 0.5}, **{"Idempotency-Key": "k1"})
    again = regroup(http, grouped.id, {"same_at": 0.5}, **{"Idempotency-Key": "k1"})
    other = regroup(http, grouped.id, {"same_at": 0.6}, **{"Idempotency-Key": "k1"})

    assert again.json["id"] == first.json["id"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert other.status_code == 422


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"same_at": 0}, "/same_at"),
        ({"same_at": 1}, "/same_at"),
        ({"same_at": "0.1"}, "/same_at"),
        ({"same_at": True}, "/same_at"),
        ({"alpha": 0.51}, "/alpha"),
        ({"alpha": 0.05, "same_at": 0.35}, "/alpha"),
        ({"min_contexts": 1}, "/min_contexts"),
        ({"min_contexts": 4.5}, "/min_contexts"),
        ({"vectors": "neuron"}, "/vectors"),
        ({"vectors": "words"}, "/vectors"),
        ({"enabled": False}, "/enabled"),
        ({"priority": "urgent"}, "/priority"),
    ],
)
def test_what_cannot_be_grouped_is_refused_with_its_place(
    http: FlaskClient, grouped: Job, body: dict[str, Any], pointer: str
) -> None:
    answer = regroup(http, grouped.id, body)

    assert answer.status_code == 422
    assert [e["pointer"] for e in answer.json["errors"]] == [pointer]


def test_a_job_without_senses_cannot_be_grouped_anew(
    http: FlaskClient, board: Board, store: Store
) -> None:
    job = run_job(board, open_job(board, senses={"enabled": False}).id)

    answer = regroup(http, job.id, {"same_at": 0.5})

    assert answer.status_code == 409
    assert "senses.enabled" in answer.json["detail"]


def test_an_unfinished_job_cannot_be_grouped_anew(http: FlaskClient, board: Board) -> None:
    assert regroup(http, open_job(board).id, {}).status_code == 409


def test_an_unknown_job_cannot_be_grouped_anew(http: FlaskClient) -> None:
    assert regroup(http, f"job_{'0' * 28}", {}).status_code == 404


@pytest.mark.parametrize(
    ("senses", "pointer"),
    [
        ({"same_at": -1}, "/senses/same_at"),
        ({"same_at": None}, "/senses/same_at"),
        ({"alpha": -1}, "/senses/alpha"),
        ({"alpha": 0.05, "same_at": 0.35}, "/senses/alpha"),
        ({"vectors": "neuron"}, "/senses/vectors"),
        ({"enabled": 1}, "/senses/enabled"),
        ({"vectors": "mlp"}, "/senses/vectors"),
        ({"min_contexts": 101}, "/senses/min_contexts"),
        ({"k": 5}, "/senses/k"),
    ],
)
def test_a_submit_with_bad_senses_is_refused(
    http: FlaskClient, senses: dict[str, Any], pointer: str
) -> None:
    answer = http.post(
        "/v1/jobs", json={"model": "tiny-gated", "corpus": {"id": "notes"}, "senses": senses}
    )

    assert answer.status_code == 422
    assert [e["pointer"] for e in answer.json["errors"]] == [pointer]


def test_a_tree_has_a_curve_over_same_at(http: FlaskClient, grouped: Job) -> None:
    tree = http.get(f"/v1/jobs/{grouped.id}/neurons/1/3/tree").json

    leaves = len(tree["contexts"]) + len(tree["evidence"])
    assert len(tree["merges"]) == leaves - 1 == 39
    assert [p["same_at"] for p in tree["curve"]] == sorted(p["same_at"] for p in tree["curve"])
    coverages = [p["coverage"] for p in tree["curve"] if not p["exact"]]
    assert coverages == sorted(coverages, reverse=True)
    assert tree["same_at"] == 0.35
    summary = http.get(f"/v1/jobs/{grouped.id}/summary").json
    assert tree["control_score"] == summary["layers"][1]["controls"]["medians"]["polysemanticity"]


def test_a_tail_that_did_not_run_has_an_empty_tree(http: FlaskClient, grouped: Job) -> None:
    tree = http.get(f"/v1/jobs/{grouped.id}/neurons/1/3/tree?tail=negative").json

    assert (tree["contexts"], tree["merges"], tree["curve"]) == ([], [], [])


def test_a_tail_that_does_not_exist_is_refused(http: FlaskClient, grouped: Job) -> None:
    answer = http.get(f"/v1/jobs/{grouped.id}/neurons/1/3/tree?tail=left")

    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/tail")


@pytest.mark.parametrize(
    "column",
    [
        "polysemanticity",
        "effective_senses",
        "sense_count",
        "broad_count",
        "sure_count",
        "coverage",
        "score_percentile",
        "selectivity_percentile",
    ],
)
def test_neurons_are_filtered_and_sorted_by_their_scores(
    http: FlaskClient, grouped: Job, column: str
) -> None:
    everything = http.get(
        f"/v1/jobs/{grouped.id}/neurons?limit=1000&fields=layer,neuron,{column}"
    ).json["data"]
    values = sorted((n[column] for n in everything if n[column] is not None), reverse=True)
    middle = values[len(values) // 2]

    found = http.get(
        f"/v1/jobs/{grouped.id}/neurons?sort=-{column}&min_{column}={middle}&limit=1000&fields={column}"
    )

    assert [n[column] for n in found.json["data"]] == [v for v in values if v >= middle]


def test_neurons_are_filtered_by_status(http: FlaskClient, grouped: Job) -> None:
    found = http.get(f"/v1/jobs/{grouped.id}/neurons?status=polysemantic&limit=1000").json

    assert found["total"] > 0
    assert {n["status"] for n in found["data"]} == {"polysemantic"}
    assert all(n["same_at"] == 0.35 and n["sense_count"] > 1 for n in found["data"])


def test_answers_have_the_documented_shape(http: FlaskClient, grouped: Job) -> None:
    neuron = f"/v1/jobs/{grouped.id}/neurons/1/3"

    assert NeuronSchema().validate(http.get(neuron).json) == {}
    assert TreeSchema().validate(http.get(f"{neuron}/tree").json) == {}
    controls = http.get(f"/v1/jobs/{grouped.id}/controls?limit=3").json
    assert ControlListSchema().validate(controls) == {}
