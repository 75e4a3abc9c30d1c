"""How long it takes: to run a killed worker's unit again, and to be free after a cancel."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path
from statistics import median

import pytest

from polyseme.commands import samples
from polyseme.contract.files.store import Layout
from polyseme.contract.records.catalogue import load_catalogue
from polyseme.contract.settings import Settings
from polyseme.workers.worker import publish_cards
from tests.factories import add_corpus, open_job
from tests.journeys.site import Site, await_that, running_site
from tests.nursery import Nursery


@pytest.mark.slow
def test_a_killed_workers_shard_runs_again_within_half_a_minute(
    nursery: Nursery, tmp_path: Path
) -> None:
    took = []
    with running_site(nursery, tmp_path / "data", lease_s=Settings.lease_s) as site:
        for _ in range(5):
            while len([pid for pid in site.started if nursery.poll(pid) is None]) < 2:
                site.start_worker(slow=0.1)
            job = site.submit()
            victim, unit = site.holder(job, "scan")
            os.kill(victim, signal.SIGKILL)
            began = time.monotonic()
            await_that(lambda job=job, unit=unit: (unit, 2) in site.attempts(job), 60, site.logs)  # type: ignore[misc]
            took.append(time.monotonic() - began)
            assert site.wait(job).status == "succeeded"

    sys.stdout.write(
        f"\nfrom a kill to the next attempt: {[round(t, 1) for t in took]} s, median "
        f"{median(took):.1f} s\n"
    )
    assert median(took) < 30


@pytest.mark.slow
@pytest.mark.model
def test_a_cancel_frees_the_worker_within_two_seconds(nursery: Nursery, tmp_path: Path) -> None:
    rng, took = random.Random(1), {"scan": [], "merge": []}  # type: ignore[var-annotated]
    with running_site(nursery, tmp_path / "data", shard_tokens=Settings.shard_tokens) as site:
        _add_sample(site)
        site.start_worker()
        # The model is loaded once, and that cannot be cut short.
        assert site.wait(_submit(site, 300, "0"), 400).status == "succeeded", site.logs()
        for kind, tokens, layers in [("scan", 8000, "all")] * 5 + [("merge", 1500, "0-5")] * 4:
            job = _submit(site, tokens, layers)
            site.holder(job, kind, 300)
            time.sleep(rng.uniform(0.0, 3.0))
            site.board.jobs.cancel(job)
            began = time.monotonic()
            await_that(lambda job=job: site.job(job).is_terminal, 60, site.logs)  # type: ignore[misc]
            took[kind].append(time.monotonic() - began)
            sys.stdout.write(f"{kind}: {took[kind][-1]:.2f} s\n")
            sys.stdout.flush()
            assert site.job(job).status == "cancelled"
            assert site.board.units.count_held(job) == 0
            assert site.is_clean(job)
            assert site.store.names(Layout.result(job)) == []
            assert [k for k in site.board._redis.keys("*") if job in k] == [f"polyseme:job:{job}"]

    for kind, found in took.items():
        sys.stdout.write(
            f"\ncancelled in {kind}: free after {[round(t, 1) for t in found]} s, median "
            f"{median(found):.1f}"
        )
    assert median(took["scan"] + took["merge"]) < 2


def _add_sample(site: Site) -> None:
    """The demo's model and corpus, before any worker reads the catalogue."""
    samples.prepare_catalogue(Path(site.settings.catalogue), required=True)
    publish_cards(site.board, load_catalogue(site.settings.catalogue), Path(site.settings.cache))
    add_corpus(site.board, site.store, samples.corpus_texts(), "sample")


def _submit(site: Site, max_tokens: int, layers: str) -> str:
    changes = {
        "corpus": {"id": "sample"},
        "tokens": {"max_tokens": max_tokens},
        "neurons": {"layers": layers},
    }
    return open_job(site.board, model=samples.MODEL_ID, reuse=False, **changes).id
