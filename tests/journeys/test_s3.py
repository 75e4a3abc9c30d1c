"""A whole job on object storage: the API and two workers that share no folder but a bucket."""

from __future__ import annotations

import json
from pathlib import Path

from polyseme import Polyseme
from polyseme.contract.files.results import MANIFEST
from polyseme.contract.files.store import Layout, Store
from polyseme.records import Job
from tests.client.standins import wait_until
from tests.factories import add_corpus, make_texts
from tests.journeys.conftest import MODEL, prepare_data, running_stack
from tests.journeys.site import digests_of, running_site
from tests.nursery import Nursery

TEXTS = make_texts(60, seed=1)
CONTEXTS = {"window": 32, "top_k": 8}
SHARD_TOKENS = 1000


def run_job(url: str) -> tuple[str, int]:
    """A job that has succeeded, and the number of its shards."""
    lines = (json.dumps({"text": t}).encode() + b"\n" for t in TEXTS)
    with Polyseme(url) as client:
        client.add_corpus(lines, name="bucket")
        job = submit(client)
    assert job.progress.shards.total is not None
    return job.id, job.progress.shards.total


def submit(client: Polyseme) -> Job:
    """A job that has succeeded."""
    request = {"model": MODEL, "corpus": {"id": "bucket"}, "contexts": CONTEXTS}
    job = client.wait(client.submit(request))
    assert job.succeeded, job.error
    return job


def test_two_workers_and_the_api_share_a_bucket_and_give_the_bytes_of_a_folder(
    s3_url: str, nursery: Nursery, tmp_path: Path
) -> None:
    bucket = Store(s3_url)
    data = prepare_data(tmp_path / "bucket/data")
    with running_stack(
        data, workers=2, store=s3_url, lease_s=10, shard_tokens=SHARD_TOKENS
    ) as stack:
        job, shards = run_job(stack.url)
        with Polyseme(stack.url) as client:
            shown, listed = client.neuron(job, 2, 47), list(client.neurons(job, limit=50))
            found = digests_of(bucket, Layout.result(job))
            wait_until(lambda: bucket.names(Layout.work(job)) == [])
            again = submit(client)
            client.delete(job)
            copied = digests_of(bucket, Layout.result(again.id))
        gone = bucket.names(Layout.result(job))
    with running_site(nursery, tmp_path / "folder", layers=3, shard_tokens=SHARD_TOKENS) as site:
        add_corpus(site.board, site.store, TEXTS, "bucket")
        site.start_worker()
        wanted = site.run_quietly(site.submit("bucket", contexts=CONTEXTS))

    assert shards > 2
    assert len(found) == 16
    assert found == wanted
    assert len(listed) == 144
    assert shown.contexts[0].activation == shown.stats.max == listed[-1].max
    assert (gone, list((data / "store").rglob("*"))) == ([], [])
    assert again.raw["reused"] == {"layers": "0-2", "jobs": [job]}
    assert {n for n in found if found[n] != copied[n]} == {MANIFEST}
