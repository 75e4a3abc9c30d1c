"""Everything that can go wrong, on real processes: each job still ends, once, with the bytes of a
quiet run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import httpx
import pytest

from polyseme.contract.files.store import Layout
from polyseme.contract.records.job import Job
from polyseme.workers.device import EXIT_CODE
from tests.journeys.conftest import MODEL
from tests.journeys.site import CONTEXTS, Site, await_that, running_site
from tests.nursery import Nursery
from tests.store_faults import Fault, may_mount, on_tmpfs, read_only, unmounted

BLOCK_TOKENS = 256  # of which even a small job's calibration has several


@pytest.fixture(scope="module")
def site(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(
        nursery, tmp_path_factory.mktemp("faults") / "data", block_tokens=BLOCK_TOKENS
    ) as found:
        yield found


@pytest.fixture(autouse=True)
def no_workers_left(site: Site) -> Iterator[None]:
    yield
    for pid in site.started:
        if site.nursery.poll(pid) is None:
            os.kill(pid, signal.SIGKILL)
            await_that(lambda pid=pid: site.nursery.poll(pid) is not None, 10)  # type: ignore[misc]


@pytest.fixture(scope="module")
def quiet(site: Site) -> dict[str, str]:
    """The digests of a run in which nothing happened."""
    site.start_worker()
    return site.run_quietly(site.submit())


def assert_unharmed(site: Site, job: str, quiet: dict[str, str]) -> Job:
    ended = site.wait(job)
    assert (ended.status, ended.error) == ("succeeded", None), site.logs()
    assert site.digests(job) == quiet
    assert ended.progress.tokens_done == ended.progress.tokens_total
    assert ended.progress.shards_done == ended.progress.shards_total
    await_that(lambda: site.is_clean(job), 10)
    return ended


@pytest.mark.parametrize("kind", ["plan", "calibrate", "scan", "merge"])
def test_a_killed_worker_costs_time_but_no_byte(
    site: Site, quiet: dict[str, str], kind: str
) -> None:
    for _ in range(2):
        site.start_worker(slow=0.05)
    job = site.submit()
    victim, unit = site.holder(job, kind)

    os.kill(victim, signal.SIGKILL)

    assert_unharmed(site, job, quiet)
    assert (unit, 2) in site.attempts(job) or kind not in ("calibrate", "scan")


def test_a_worker_that_wakes_up_after_its_lease_harms_nothing(
    site: Site, quiet: dict[str, str]
) -> None:
    sleeper = site.start_worker(slow=0.1)
    job = site.submit()
    site.holder(job, "scan")
    os.kill(sleeper, signal.SIGSTOP)
    site.start_worker()
    assert_unharmed(site, job, quiet)

    os.kill(sleeper, signal.SIGCONT)
    time.sleep(2)

    assert_unharmed(site, job, quiet)
    assert site.nursery.poll(sleeper) is None
    assert_unharmed(site, site.submit(), quiet)


def test_a_worker_that_wakes_up_after_its_job_was_cancelled_leaves_nothing(site: Site) -> None:
    sleeper = site.start_worker(slow=0.1)
    job = site.submit()
    site.holder(job, "scan")
    os.kill(sleeper, signal.SIGSTOP)
    site.board.jobs.cancel(job)
    site.start_worker()
    assert site.wait(job).status == "cancelled"

    os.kill(sleeper, signal.SIGCONT)
    time.sleep(2)

    assert site.is_clean(job)
    assert site.store.names(Layout.result(job)) == []


@pytest.mark.parametrize("harm", ["memory", "device"])
def test_a_unit_that_fails_once_is_done_by_another_attempt(
    site: Site, quiet: dict[str, str], tmp_path: Path, harm: str
) -> None:
    victim = site.start_worker(once={harm: str(tmp_path / "flag")})
    job = site.submit()
    if harm == "device":
        await_that(lambda: site.nursery.poll(victim) is not None, 60, site.logs)
        assert site.nursery.poll(victim) == EXIT_CODE
        site.start_worker()

    assert_unharmed(site, job, quiet)

    assert max(n for _, n in site.attempts(job)) == 2
    assert (tmp_path / "flag").exists()


def test_a_unit_that_hangs_is_done_by_another_worker(
    site: Site, quiet: dict[str, str], tmp_path: Path
) -> None:
    with site.with_settings(stall_s=4.0):
        stuck = site.start_worker(once={"hang": str(tmp_path / "flag")})
        job = site.submit()
        await_that(lambda: (tmp_path / "flag").exists(), 60, site.logs)
        site.start_worker()

        assert_unharmed(site, job, quiet)

    await_that(lambda: site.nursery.poll(stuck) is not None, 10, site.logs)
    assert site.nursery.poll(stuck) == EXIT_CODE
    assert max(n for _, n in site.attempts(job)) == 2
    assert "no progress for" in site.logs()


@pytest.mark.parametrize("how", ["raise", pytest.param("kill", marks=pytest.mark.slow)])
def test_a_poison_shard_fails_its_job_and_delays_no_other(
    site: Site, quiet: dict[str, str], how: str
) -> None:
    for _ in range(2):
        site.start_worker()
    began = time.monotonic()
    assert_unharmed(site, site.submit(), quiet)
    alone_s = time.monotonic() - began
    poison = site.submit(metadata={"poison": how})

    others = [site.submit() for _ in range(2)]
    began = time.monotonic()
    while site.board.jobs.get(poison).status not in ("failed", "succeeded"):  # type: ignore[union-attr]
        alive = [pid for pid in site.started if site.nursery.poll(pid) is None]
        for _ in range(2 - len(alive)):
            site.start_worker()
        time.sleep(0.1)
        assert time.monotonic() - began < 120, site.logs()
    ended = [assert_unharmed(site, job, quiet) for job in others]

    failed = site.job(poison)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error["code"] == "too_many_attempts"
    assert "scan:1 did not end in 3 attempts" in failed.error["detail"]
    assert ("this shard cannot be computed" if how == "raise" else "worker died") in failed.error[
        "detail"
    ]
    assert sorted(n for unit, n in site.attempts(poison) if unit == "scan:1") == [1, 2, 3]
    waits = [(j.finished_at or 0) - j.created_at for j in ended]
    sys.stdout.write(f"\npoison ({how}): the others took {waits} s, one alone {alone_s:.1f} s\n")
    if how == "raise":
        assert max(waits) < 3 * alone_s + 10


def test_a_killed_redis_loses_nothing(site: Site, quiet: dict[str, str]) -> None:
    for _ in range(2):
        site.start_worker(slow=0.05)
    jobs = [site.submit() for _ in range(2)]
    site.holder(jobs[0], "scan")

    for _ in range(3):
        site.server.kill()
        time.sleep(0.5)
        site.server.start()
        time.sleep(1.5)

    for job in jobs:
        assert_unharmed(site, job, quiet)
    assert all(site.nursery.poll(pid) is None for pid in list(site.started)[-2:])


def test_redis_may_be_out_of_reach_for_half_a_minute(site: Site, quiet: dict[str, str]) -> None:
    for _ in range(2):
        site.start_worker(slow=0.05)
    with site.api() as api:
        job = site.submit()
        site.holder(job, "scan")
        with site.server.stopped():
            began = time.monotonic()
            answers = [httpx.get(f"{api.url}/v1/jobs/{job}", timeout=30) for _ in range(2)]
            submitted = httpx.post(
                f"{api.url}/v1/jobs", json={"model": MODEL, "corpus": {"id": "notes"}}, timeout=30
            )
            time.sleep(max(30 - (time.monotonic() - began), 0))

        for answer in (*answers, submitted):
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.json()["code"] == "unavailable"
        assert httpx.get(f"{api.url}/v1/jobs/{job}", timeout=30).status_code == 200
    assert_unharmed(site, job, quiet)
    # Nobody's fault: the workers had their results ready when Redis was back.
    assert max(n for _, n in site.attempts(job)) <= 2


def test_connections_that_are_cut_all_the_time_cost_nothing(
    site: Site, quiet: dict[str, str]
) -> None:
    for _ in range(2):
        site.start_worker(slow=0.02)
    job = site.submit()
    cut = 0

    while not site.job(job).is_terminal and cut < 1000:
        cut += site.server.cut_connections()
        time.sleep(0.3)

    assert cut > 20
    assert_unharmed(site, job, quiet)


def test_an_api_killed_in_the_middle_of_submits_takes_each_once(
    site: Site, quiet: dict[str, str]
) -> None:
    body = {"model": MODEL, "corpus": {"id": "notes"}, "contexts": CONTEXTS, "reuse": False}
    keys = [f"key-{time.time_ns()}-{i}" for i in range(6)]
    answered: dict[str, str] = {}

    def submit(key: str) -> None:
        try:
            answer = httpx.post(
                f"{api.url}/v1/jobs", json=body, headers={"Idempotency-Key": key}, timeout=30
            )
        except httpx.TransportError:
            return
        assert answer.status_code == 202, answer.text
        answered[key] = answer.json()["id"]

    known = set(site.board.jobs.list_active())
    with site.api() as api:
        threads = [threading.Thread(target=submit, args=(key,)) for key in keys]
        for thread in threads[:2]:
            thread.start()
        await_that(lambda: len(answered) >= 1, 30)
        for thread in threads[2:]:
            thread.start()
        api.kill()
        for thread in threads:
            thread.join()
        accepted, before = dict(answered), set(site.board.jobs.list_active()) - known
        assert len(before) >= len(accepted)
        api.start()
        for key in keys:
            submit(key)

    assert len(answered) == len(keys)
    assert set(answered.values()) == set(site.board.jobs.list_active()) - known
    assert before <= set(answered.values())
    assert {key: answered[key] for key in accepted} == accepted
    for _ in range(2):
        site.start_worker()
    for job in answered.values():
        assert_unharmed(site, job, quiet)


def test_workers_whose_clocks_are_off_by_minutes_agree(site: Site, quiet: dict[str, str]) -> None:
    for ahead_s in (-60, 60, 0):
        site.start_worker(clock=ahead_s, slow=0.02)
    jobs = [site.submit() for _ in range(2)]

    for job in jobs:
        ended = assert_unharmed(site, job, quiet)
        assert {n for _, n in site.attempts(job)} == {1}
        assert abs((ended.finished_at or 0) - time.time()) < 30
    assert len({pid for pid, log in site.started.items() if "attempt" in log.read_text()}) >= 2


def test_a_worker_told_to_end_gives_its_unit_back_uncounted(
    site: Site, quiet: dict[str, str]
) -> None:
    leaving = site.start_worker(slow=0.2)
    job = site.submit()
    _, unit = site.holder(job, "scan")

    os.kill(leaving, signal.SIGTERM)
    await_that(lambda: site.nursery.poll(leaving) is not None, 20, site.logs)

    assert site.nursery.poll(leaving) == 0
    assert site.board.units.count_attempts(job)[unit] == 0
    assert site.board.units.count_held(job) == 0
    site.start_worker()
    assert_unharmed(site, job, quiet)
    assert {n for _, n in site.attempts(job)} == {1}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            read_only,
            id="read-only",
            marks=pytest.mark.skipif(not may_mount(), reason="mounting takes root"),
        ),
        pytest.param(unmounted, id="unmounted", marks=pytest.mark.slow),
    ],
)
def test_a_store_that_is_away_costs_jobs_time_alone(
    nursery: Nursery, tmp_path: Path, quiet: dict[str, str], fault: Fault
) -> None:
    disk = on_tmpfs if fault is read_only else nullcontext
    with running_site(nursery, tmp_path / "data", disk=disk, block_tokens=BLOCK_TOKENS) as mine:
        folder = Path(mine.settings.store)
        for _ in range(2):
            mine.start_worker()
        jobs = [mine.submit() for _ in range(2)]
        mine.holder(jobs[0], "scan")

        with fault(folder):
            await_that(lambda: any(mine.job(job).store_away_since for job in jobs), 20, mine.logs)
            time.sleep(1.5)
            waiting = [mine.job(job).status for job in jobs]

        for job in jobs:
            assert_unharmed(mine, job, quiet)
            assert {n for _, n in mine.attempts(job)} == {1}
        assert not {"failed", "cancelled"} & set(waiting)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_full_store_holds_the_job_up_until_it_is_emptied(
    nursery: Nursery, tmp_path: Path, quiet: dict[str, str]
) -> None:
    with running_site(
        nursery, tmp_path / "data", max_attempts=1, block_tokens=BLOCK_TOKENS
    ) as small:
        small.start_worker(slow=0.05)
        with full_disk(Path(small.settings.store) / "work"):
            job = small.submit()
            await_that(lambda: small.job(job).store_away_since, 30, small.logs)

        assert_unharmed(small, job, quiet)
        assert "No space left on device" in "".join(p.read_text() for p in small.started.values())


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """A file system of 64 KiB on a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "polyseme-test", str(folder)], check=False
    )
    if mounted.returncode:
        pytest.skip("this machine does not let root mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
