from __future__ import annotations

import pytest

from polyseme.contract.paths import hide_paths


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[Errno 2] No such file: '/srv/data/store/work/job_1/plan.json'", "…/plan.json"),
        ("/home/ada/.cache/hub: not there", "…/hub: not there"),
        ('a folder "/srv/data/"', 'a folder "…/"'),
        ("OSError: s3://secret-bucket/polyseme/results: ClientError", "the store ClientError"),
        ("(/a/b/c)", "(…/c)"),
        ("path=/etc/shadow", "path=…/shadow"),
    ],
)
def test_a_path_of_the_server_is_not_told(text: str, told: str) -> None:
    hidden = hide_paths(text)

    assert told.split()[-1] in hidden
    for part in ("/srv", "/home", "bucket", "/a/", "/etc"):
        assert part not in hidden


@pytest.mark.parametrize(
    "text",
    [
        "model 'HuggingFaceTB/SmolLM2-135M' is not there",
        "work/job_1/partials/000001.npz is damaged",
        "see https://example.org/docs/api",
        "layer 3 / neuron 5",
        "12.5 tokens/s, 3/4 done",
    ],
)
def test_everything_else_is_told_as_it_is(text: str) -> None:
    assert hide_paths(text) == text
