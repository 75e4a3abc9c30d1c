"""The service against its own OpenAPI document: generated requests, good and bad, checked by
Schemathesis.

With a key, so that it is also tried without one, and with one that is none.
"""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.generation import GenerationMode

from polyseme.contract.records.job import Job
from tests.factories import MODEL

# A well-formed request may still name a model, a corpus or a layer that is not there, or wait too
# long. The key is sent with every request, so one that lacks it would be taken for wrong and is
# not; the check `ignored_auth` takes it away.
CONFIG = """
[generation]
with-security-parameters = false

[checks]
positive_data_acceptance.expected-statuses = ["2xx", 304, 400, 404, 409, 410, 413, 415, 422,
    429, 503]
"""


@pytest.fixture
def api(app: Flask) -> Any:
    load_all_checks()
    config = schemathesis.Config.from_str(CONFIG)
    return schemathesis.openapi.from_wsgi("/openapi.json", app, config=config)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_generated_requests_get_documented_answers(
    api: Any, done: Job, key: str, mode: GenerationMode, subtests: pytest.Subtests
) -> None:
    for found in api.get_all_operations():
        operation = found.ok()
        # The job stays, so that what follows it has something to answer.
        if operation.label != "DELETE /v1/jobs/{job_id}":
            with subtests.test(operation.label):
                check(operation, mode, fill_path(operation, mode, done.id), key)


def fill_path(operation: Any, mode: GenerationMode, job: str) -> dict[str, Any]:
    """What is there; of a bad request only the job."""
    known = {"job_id": job} | (
        {} if mode.is_negative else {"layer": 1, "neuron": 2, "model_id": MODEL}
    )
    return {name: value for name, value in known.items() if f"{{{name}}}" in operation.path}


def check(operation: Any, mode: GenerationMode, path: dict[str, Any], key: str) -> None:
    @given(case=operation.as_strategy(mode, path_parameters=path or None))
    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def run(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS.get_all(), headers={"Authorization": f"Bearer {key}"})

    try:
        run()
    except Unsatisfiable:
        # Nothing about such an operation can be wrong: it has no parameters and no body.
        assert mode.is_negative
        assert not operation.body
