"""No number in a request is a failure of the service's, however large or odd."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from marshmallow import Schema, fields

from polyseme.contract.board.board import Board
from polyseme.contract.records.job import Job
from polyseme.service.schemas.fields import Fraction, QueryNumber, QueryWhole, Selected, Whole
from polyseme.service.schemas.query_parameters import (
    CorporaQuery,
    JobsQuery,
    NeuronsQuery,
)
from polyseme.service.schemas.requests import AnalysisSchema, RegroupSchema
from tests.factories import make_body

# As they stand in JSON; those of a query are the same texts.
ODD = [
    "1" + "0" * 400,
    "-1" + "0" * 400,
    "9" * 16,
    "1" + "0" * 4290,
    "1" + "0" * 5000,
    "1e400",
    "-1e400",
    "1e308",
    "1e-400",
    "-0.0",
    "NaN",
    "Infinity",
    "0.1" + "1" * 4000,
]


def numbers_of(schema: Schema, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where a body has numbers."""
    for name, field in schema.fields.items():
        if isinstance(field, fields.Nested):
            yield from numbers_of(field.schema, (*path, name))
        elif isinstance(field, Whole | Fraction | Selected):
            yield (*path, name)


def spell(body: dict[str, Any], path: tuple[str, ...], number: str) -> bytes:
    """The body with a number as it is spelled, alone and in a list."""
    place: dict[str, Any] = body
    for name in path[:-1]:
        place = place.setdefault(name, {})
    place[path[-1]] = ["@@"] if path[-1] in ("layers", "indices") else "@@"
    return json.dumps(body).replace('"@@"', number).encode()


def post(http: FlaskClient, path: str, body: bytes) -> int:
    return http.post(path, data=body, content_type="application/json").status_code


@pytest.mark.parametrize("path", list(numbers_of(AnalysisSchema())), ids=".".join)
def test_of_a_job(http: FlaskClient, path: tuple[str, ...]) -> None:
    for number in ODD:
        status = post(http, "/v1/jobs?dry_run=true", spell(make_body(), path, number))
        assert status in (200, 400, 422), number
    assert post(http, "/v1/jobs?dry_run=true", spell(make_body(), path, ODD[0])) == 422


@pytest.mark.parametrize("path", list(numbers_of(RegroupSchema())), ids=".".join)
def test_of_a_regrouping(http: FlaskClient, done: Job, path: tuple[str, ...]) -> None:
    for number in ODD:
        status = post(http, f"/v1/jobs/{done.id}/senses", spell({}, path, number))
        assert status in (202, 400, 409, 422), number


def test_of_a_batch_and_of_a_live_check(http: FlaskClient, done: Job) -> None:
    for number in ODD:
        entry = json.loads(spell(make_body(), ("senses", "alpha"), '"@@"'))
        body = json.dumps({"jobs": [entry]}).replace('"@@"', number).encode()
        assert post(http, "/v1/batches", body) in (202, 400, 422), number
        for name in ("layer", "neuron"):
            target = {"layer": 0, "neuron": 0} | {name: "@@"}
            body = json.dumps({"job": done.id, "text": "x", "neurons": [target]}).encode()
            body = body.replace(b'"@@"', number.encode())
            assert post(http, "/v1/activations", body) in (202, 400, 422), number


def test_of_a_query(http: FlaskClient, done: Job) -> None:
    paths = {
        "/v1/jobs": JobsQuery(),
        "/v1/corpora": CorporaQuery(),
        f"/v1/jobs/{done.id}/neurons": NeuronsQuery(),
    }
    for path, schema in paths.items():
        names = [n for n, f in schema.fields.items() if isinstance(f, QueryNumber | QueryWhole)]
        assert names
        for name in [*names[:4], *names[-2:]]:
            for number in ODD:
                answer = http.get(path, query_string={name: number})
                assert answer.status_code in (200, 400, 414, 422), (path, name, number)


def test_a_number_that_is_repeated_takes_no_room_in_a_jobs_record(
    http: FlaskClient, board: Board
) -> None:
    body = make_body(neurons={"layers": [1, 0, 1], "indices": [5] * 15_000 + [3]})
    text = make_body(neurons={"indices": ",".join(["5"] * 20_000)})

    for sent, kept in ((body, [3, 5]), (text, "5")):
        answer = http.post("/v1/jobs", json=sent)
        assert (answer.status_code, answer.get_json()["request"]["neurons"]["indices"]) == (
            202,
            kept,
        )
        size = board.jobs._redis.memory_usage(f"polyseme:job:{answer.get_json()['id']}")
        assert (size or 0) < 5000
