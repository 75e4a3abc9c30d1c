from __future__ import annotations

import inspect

import pytest
import redis
from flask.testing import FlaskClient
from werkzeug.exceptions import RequestEntityTooLarge

from polyseme.contract import errors
from polyseme.service.http.problems import (
    STATUS,
    describe_error,
    escape_pointer,
    invalid_values,
    status_of,
)

ALL = [
    c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.PolysemeError)
]


@pytest.mark.parametrize("error", ALL)
def test_every_error_of_the_contract_has_a_status(error: type[errors.PolysemeError]) -> None:
    assert 400 <= status_of(error) < 600


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.BadCursor, 400),
        (errors.ExpiredCursor, 410),
        (errors.JobNotFinished, 409),
        (errors.UnknownLayer, 422),
        (errors.TooManyJobs, 429),
        (errors.DamagedFile, 500),
    ],
)
def test_the_nearest_class_in_the_table_gives_the_status(
    error: type[errors.PolysemeError], status: int
) -> None:
    assert status_of(error) == status


def test_an_error_keeps_its_code_its_pointers_and_its_patience() -> None:
    problem = describe_error(errors.UnknownLayer("layer 31", pointer="/neurons/layers"))
    later = describe_error(errors.Unavailable("later", retry_after_s=7))

    assert (problem.code, [e.pointer for e in problem.errors]) == (
        "unknown_layer",
        ["/neurons/layers"],
    )
    assert later.headers == {"Retry-After": "7"}


def test_redis_away_is_503_with_a_time_to_try_again() -> None:
    problem = describe_error(redis.ConnectionError("no"))

    assert (problem.status, problem.headers["Retry-After"]) == (503, "5")


def test_a_werkzeug_error_becomes_a_problem_with_a_code_of_its_phrase() -> None:
    problem = describe_error(RequestEntityTooLarge())

    assert (problem.status, problem.code) == (413, "request_entity_too_large")


def test_an_unknown_failure_tells_nothing_of_the_inside() -> None:
    problem = describe_error(ZeroDivisionError("secret path"))

    assert problem.status == 500
    assert "secret" not in problem.detail


def test_messages_become_pointers_to_each_leaf() -> None:
    error = invalid_values(
        {"contexts": {"top_k": ["wrong"], "_schema": ["odd"]}, "a/b~": {2: ["bad"]}}
    )

    assert [(d.pointer, d.detail) for d in error.details] == [
        ("/contexts/top_k", "wrong"),
        ("/contexts", "odd"),
        ("/a~1b~0/2", "bad"),
    ]


def test_pointers_escape_as_rfc_6901_says() -> None:
    assert escape_pointer("a/b~c") == "a~1b~0c"


def test_the_table_has_one_row_a_class_and_ends_with_the_root() -> None:
    assert list(STATUS)[-1] is errors.PolysemeError


def test_an_unknown_path_is_a_problem_and_a_wrong_method_names_the_right_ones(
    http: FlaskClient,
) -> None:
    missing = http.get("/v1/nothing")
    wrong = http.put("/v1/jobs", json={})

    assert (missing.status_code, missing.mimetype) == (404, "application/problem+json")
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "GET, HEAD, OPTIONS, POST")


def test_a_request_id_is_kept_when_it_is_plain_and_replaced_when_not(http: FlaskClient) -> None:
    kept = http.get("/v1/nothing", headers={"X-Request-Id": "abc-1.2_3"})
    replaced = http.get("/v1/nothing", headers={"X-Request-Id": 'x"><script>'})

    assert kept.headers["X-Request-Id"] == kept.get_json()["request_id"] == "abc-1.2_3"
    assert len(replaced.headers["X-Request-Id"]) == 32
