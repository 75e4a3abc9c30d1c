"""A Redis behind Sentinels: its master is killed under running jobs, and the replica takes over."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.journeys.conftest import MODEL
from tests.journeys.site import CONTEXTS, Site, await_that, running_site
from tests.nursery import Nursery
from tests.watched_redis import WatchedRedis


@pytest.fixture(scope="module")
def site(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data = tmp_path_factory.mktemp("sentinel") / "data"
    with running_site(nursery, data, redis_server=WatchedRedis.running) as found:
        yield found


def test_the_replica_takes_over_and_every_job_ends_with_the_bytes_of_a_quiet_run(
    site: Site,
) -> None:
    site.start_worker()
    quiet = site.run_quietly(site.submit())
    with site.api() as api, httpx.Client(base_url=api.url, trust_env=False, timeout=30) as http:
        body = {"model": MODEL, "corpus": {"id": "notes"}, "contexts": CONTEXTS, "reuse": False}
        accepted = [submit(http, body) for _ in range(3)]
        site.holder(accepted[0], "scan")
        # What a Redis has acknowledged and not yet passed on is lost with it.
        site.server.await_copy()

        before = site.server.kill_master()

        await_that(lambda: site.server.master != before, 60)
        await_that(lambda: http.get("/readyz").is_success, 60, site.logs)
        accepted.append(submit(http, body))
        for job in accepted:
            ended = site.wait(job)
            assert (ended.status, ended.error) == ("succeeded", None), site.logs()
            assert site.digests(job) == quiet
            assert http.get(f"/v1/jobs/{job}").json()["status"] == "succeeded"
    assert len({*accepted}) == 4


def submit(http: httpx.Client, body: dict[str, object]) -> str:
    answer = http.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])
