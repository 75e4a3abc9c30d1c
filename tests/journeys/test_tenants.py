"""Two tenants on one running service, from their keys to the end of a result's time."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from polyseme import Polyseme, Problem
from tests.factories import make_texts
from tests.journeys.conftest import MODEL, prepare_data, running_stack


def make_key(data: Path, tenant: str) -> str:
    command = [
        sys.executable,
        "-m",
        "polyseme",
        "keys",
        "create",
        "--tenant",
        tenant,
        "--data",
        str(data),
    ]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=360
    ).stdout.strip()


def refusal(client: Polyseme, job: str) -> int:
    with pytest.raises(Problem) as refused:
        client.summary(job)
    return refused.value.status


def test_a_tenants_result_is_its_own_and_ends_with_its_time(tmp_path: Path) -> None:
    data = prepare_data(tmp_path / "data", layers=2)
    secrets = [make_key(data, tenant) for tenant in ("acme", "beta")]
    request = {"model": MODEL, "corpus": {"id": "notes"}, "contexts": {"top_k": 4, "window": 32}}
    with running_stack(data, workers=1, retention_s=20, catalogue=data / "models.toml") as stack:
        clients = [Polyseme(stack.url, api_key=secret) for secret in secrets]
        with clients[0] as acme, clients[1] as beta, Polyseme(stack.url) as nobody:
            for client, count in ((acme, 20), (beta, 25)):
                client.add_corpus(
                    (f"{t}\n".encode() for t in make_texts(count)),
                    media_type="text/plain",
                    name="notes",
                )
            theirs, mine = (c.wait(c.submit(request)) for c in (beta, acme))

            assert (theirs.status, mine.status) == ("succeeded", "succeeded"), (theirs, mine)
            assert acme.summary(mine.id)["neurons"] > 0
            assert [refusal(c, mine.id) for c in (beta, nobody)] == [404, 401]
            assert [j.id for j in acme.jobs()] == [mine.id]
            assert refusal(acme, theirs.id) == 404
            await_no_results(data)
            assert [refusal(c, mine.id) for c in (acme, beta)] == [410, 404]
            assert list(acme.jobs()) == []


def await_no_results(data: Path) -> None:
    deadline = time.monotonic() + 90
    while list((data / "store" / "results").iterdir()):
        assert time.monotonic() < deadline, "the results are still there"
        time.sleep(0.2)
