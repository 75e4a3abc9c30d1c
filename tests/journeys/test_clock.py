"""Redis' clock steps by an hour while jobs run: they end as on any day, and nothing is deleted."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from functools import partial

import pytest

from polyseme.contract.files.store import Layout
from tests.false_clock import FalseClock
from tests.journeys.site import Site, await_that, running_site
from tests.nursery import Nursery
from tests.servers import RedisServer

HOUR = 3600
LEASE_S = 6.0


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> FalseClock:
    return FalseClock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def site(
    nursery: Nursery, clock: FalseClock, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with running_site(
        nursery,
        tmp_path_factory.mktemp("steps") / "data",
        redis_server=partial(RedisServer.running, clock.environ),
        lease_s=LEASE_S,
        retention_s=HOUR / 2,
    ) as found:
        yield found


@pytest.fixture(scope="module")
def quiet(site: Site) -> dict[str, str]:
    site.start_worker()
    return site.run_quietly(site.submit())


def test_jobs_go_on_through_steps_both_ways(
    site: Site, clock: FalseClock, quiet: dict[str, str]
) -> None:
    site.start_worker(slow=0.05)
    jobs = [site.submit() for _ in range(3)]

    for seconds in (HOUR, 0, -HOUR, 0):
        time.sleep(1.5)
        clock.step(seconds)

    for job in jobs:
        assert site.wait(job).status == "succeeded", site.logs()
        assert site.digests(job) == quiet
        assert {n for _, n in site.attempts(job)} == {1}


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_a_unit_of_a_worker_that_died_is_taken_in_time(
    site: Site, clock: FalseClock, quiet: dict[str, str], seconds: int
) -> None:
    for pid in site.started:
        if site.nursery.poll(pid) is None:
            os.kill(pid, signal.SIGKILL)
    victim = site.start_worker(slow=0.2)
    job = site.submit()
    site.holder(job, "scan")
    os.kill(victim, signal.SIGKILL)
    clock.step(seconds)
    site.start_worker()
    began = time.monotonic()

    ended = site.wait(job)
    took_s = time.monotonic() - began
    clock.step(0)

    assert ended.status == "succeeded"
    assert took_s < LEASE_S + 30
    assert site.digests(job) == quiet


def test_an_hour_ahead_deletes_no_result(
    site: Site, clock: FalseClock, quiet: dict[str, str]
) -> None:
    site.start_worker()
    job = site.submit()
    site.run_quietly(job)

    clock.step(HOUR)
    time.sleep(12)
    clock.step(0)

    assert site.digests(job) == quiet
    assert not site.job(job).has_expired
    await_that(lambda: site.store.exists(Layout.result(job)), 1)
