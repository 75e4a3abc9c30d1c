"""Which version of workers a request needs."""

from __future__ import annotations

from typing import Any

import pytest

from polyseme.contract.records.job import JOB_VERSION, ActivationsRequest, version_of
from tests.factories import make_request


@pytest.mark.parametrize(
    ("changes", "version"),
    [
        ({}, 1),
        ({"neurons": {"site": "resid_post"}}, 1),
        ({"tokens": {"exclude_positions": 1}}, 1),
        ({"tokens": {"exclude_sinks": 10.0}}, 2),
        ({"neurons": {"site": "vectors", "vectors": "vec_1"}}, 2),
        ({"neurons": {"site": "dictionary", "dictionary": ["post-3"]}}, 2),
    ],
)
def test_only_what_older_workers_get_wrong_waits_for_newer_ones(
    changes: dict[str, Any], version: int
) -> None:
    assert version_of(make_request(**changes)) == version <= JOB_VERSION


def test_a_live_check_runs_on_any() -> None:
    assert version_of(ActivationsRequest("job_1", "m", "a text", ((0, 1),), 5)) == 1
