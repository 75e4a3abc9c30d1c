"""Jobs that take layers over from finished ones, with real workers: the bytes are those of a whole
scan.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from polyseme.contract.files.results import MANIFEST
from polyseme.contract.files.store import Layout
from polyseme.contract.records.job import Job
from polyseme.service.jobs.show import job_to_dict
from tests.factories import make_request
from tests.journeys.conftest import MODEL
from tests.journeys.site import CONTEXTS, Site, await_that, running_site
from tests.nursery import Nursery

LAYERS = 3


@pytest.fixture(scope="module")
def site(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data = tmp_path_factory.mktemp("reuse") / "data"
    with running_site(nursery, data, layers=LAYERS) as found:
        found.start_worker()
        yield found


@pytest.fixture(scope="module")
def first(site: Site) -> Job:
    """A job on one of the layers that has succeeded."""
    return run(site, site.submit(reuse=True, neurons={"layers": [1]}))


def run(site: Site, job: str) -> Job:
    ended = site.wait(job)
    assert ended.status == "succeeded", (ended.error, site.logs())
    return ended


def assert_as_scanned(site: Site, job: str, **changes: Any) -> None:
    """That the result is the one of a job that scans all layers, but for the note of what was taken
    over.
    """
    other = run(site, site.submit(**changes)).id
    found, wanted = (
        {n: d for n, d in site.digests(j).items() if n != MANIFEST} for j in (job, other)
    )
    ours, theirs = (
        json.loads(site.store.read(f"{Layout.result(j)}/{MANIFEST}")) for j in (job, other)
    )
    assert found == wanted
    for manifest in (ours, theirs):
        del manifest["seal"], manifest["reused"]
    assert ours == theirs
    await_that(lambda: site.is_clean(job), 10)


def test_a_job_on_all_layers_scans_those_that_are_missing(site: Site, first: Job) -> None:
    job = run(site, site.submit(reuse=True))

    assert job.reused == {first.id: (1,)}
    assert job_to_dict(job)["reused"] == {"layers": "1", "jobs": [first.id]}
    assert job.progress.tokens_done == job.progress.tokens_total != 0
    assert {unit.partition(":")[0] for unit, _ in site.attempts(job.id)} > {"scan", "project"}
    assert_as_scanned(site, job.id)


def test_the_same_job_again_and_one_with_another_limit_scan_nothing(site: Site, first: Job) -> None:
    for changes in ({}, {"senses": {"same_at": 0.2}}):
        job = run(site, site.submit(reuse=True, neurons={"layers": [1]}, **changes))

        assert [*job.reused.values()] == [(1,)]
        assert [unit for unit, _ in site.attempts(job.id)] == ["plan", "merge:0", "close"]
        assert job.progress.tokens_per_second is None
        assert_as_scanned(site, job.id, neurons={"layers": [1]}, **changes)


def test_a_job_that_asks_for_a_scan_gets_one(site: Site, first: Job) -> None:
    job = run(site, site.submit(reuse=False, neurons={"layers": [1]}))

    assert (job.reused, job_to_dict(job)["reused"]) == ({}, None)
    assert job.progress.tokens_done > 0


def test_another_tenant_gets_nothing_of_it(site: Site, first: Job) -> None:
    board, store = site.board, site.store
    corpus = board.registry.get_corpus("notes")
    assert corpus is not None
    store.write(Layout.documents("notes", "acme"), store.read(Layout.documents("notes")))
    board.registry.add_corpus(corpus, "acme")
    request = make_request(model=MODEL, contexts=CONTEXTS, neurons={"layers": [1]})

    theirs = run(site, board.jobs.open(request, tenant="acme").job)

    assert theirs.reused == {}
    assert theirs.progress.tokens_done > 0


def test_a_source_deleted_and_a_worker_killed_meanwhile_change_no_byte(site: Site) -> None:
    changes: dict[str, Any] = {"contexts": CONTEXTS | {"top_k": 6}}
    source = run(site, site.submit(reuse=True, neurons={"layers": "0,2"}, **changes))
    stop_workers(site)
    site.start_worker(slow=0.3)
    job = site.submit(reuse=True, **changes)
    victim, _ = site.holder(job, "scan")

    assert site.board.jobs.delete_record(source.id) == "deleted"
    site.store.delete(Layout.result(source.id))
    os.kill(victim, signal.SIGKILL)
    site.start_worker()
    ended = run(site, job)

    assert ended.reused == {source.id: (0, 2)}
    assert max(attempt for _, attempt in site.attempts(job)) > 1
    assert_as_scanned(site, job, **changes)


def test_a_worker_killed_while_it_plans_leaves_a_plan_to_the_next(site: Site) -> None:
    changes: dict[str, Any] = {"contexts": CONTEXTS | {"top_k": 7}}
    source = run(site, site.submit(reuse=True, neurons={"layers": "0-1"}, **changes))
    stop_workers(site)
    job = site.submit(reuse=True, **changes)
    site.start_worker()
    victim, _ = site.holder(job, "plan")
    os.kill(victim, signal.SIGKILL)
    site.start_worker()

    assert run(site, job).reused == {source.id: (0, 1)}
    assert_as_scanned(site, job, **changes)


def stop_workers(site: Site) -> None:
    for pid in site.started:
        if site.nursery.poll(pid) is None:
            os.kill(pid, signal.SIGKILL)
            await_that(lambda pid=pid: site.nursery.poll(pid) is not None, 10)  # type: ignore[misc]
