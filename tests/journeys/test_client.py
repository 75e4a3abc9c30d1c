"""The Python client and the command against the real service: every call, a killed API, a spent
allowance.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from polyseme import AsyncPolyseme, Invalid, NotFound, Polyseme
from polyseme.commands.models import write_entry
from polyseme.records import Batch, Job
from tests.client.standins import REPOSITORY
from tests.factories import make_texts
from tests.journeys.conftest import MODEL
from tests.journeys.site import CONTEXTS, Api, Site, await_that, running_site
from tests.nursery import Nursery

REQUEST = {"model": MODEL, "corpus": {"id": "mine"}, "contexts": CONTEXTS}


@pytest.fixture(scope="module")
def site(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(nursery, tmp_path_factory.mktemp("polyseme") / "data") as found:
        yield found


@pytest.fixture(scope="module")
def api(site: Site) -> Iterator[Api]:
    with site.api() as found:
        yield found


@pytest.fixture(scope="module")
def key(site: Site) -> str:
    return site.board.accounts.create_key("acme", ("read", "submit"), "")[1]


@pytest.fixture(scope="module")
def ended(site: Site, api: Api, key: str) -> Job:
    """A job on a corpus of 60 texts that has succeeded."""
    worker = site.start_worker()
    with Polyseme(api.url, api_key=key) as polyseme:
        polyseme.add_texts(make_texts(60, seed=3), name="mine")
        job = polyseme.wait(polyseme.submit(REQUEST))
    assert job.succeeded, site.logs()
    assert site.nursery.poll(worker) is None
    return job


@pytest.fixture
def polyseme(api: Api, key: str, ended: Job) -> Iterator[Polyseme]:
    with Polyseme(api.url, api_key=key) as found:
        yield found


def test_a_result_is_read_as_rows_reports_and_tables(polyseme: Polyseme, ended: Job) -> None:
    rows = list(polyseme.neurons(ended.id, layer=1, limit=20))
    report = polyseme.neuron(ended.id, 1, 7)
    table = polyseme.arrow(ended.id)

    assert [row.neuron for row in rows] == list(range(48))
    assert (report.model, report.stats.max) == (MODEL, rows[7].max)
    assert report.contexts[0].activation == rows[7].max
    assert table.num_rows == 96
    assert table.column("max").to_pylist()[48 + 7] == pytest.approx(rows[7].max)
    assert polyseme.summary(ended.id)["neurons"] == 96
    assert "layer 1, neuron 7" in report._repr_html_()
    assert "48 neurons" in str(polyseme.neurons(ended.id, layer=1)._repr_html_())


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_result_is_a_data_frame(polyseme: Polyseme, ended: Job, library: str) -> None:
    pytest.importorskip(library)

    frame = getattr(polyseme, library)(ended.id)

    assert frame.shape[0] == 96
    assert set(frame["layer"]) == {0, 1}


def test_asyncio_reads_the_same(api: Api, key: str, polyseme: Polyseme, ended: Job) -> None:
    async def read() -> tuple[object, ...]:
        async with AsyncPolyseme(api.url, api_key=key) as other:
            first = await other.neurons(ended.id, sort="-max").first(3)
            return await other.neuron(ended.id, 1, 7), first, [job.id async for job in other.jobs()]

    report, first, jobs = asyncio.run(read())

    assert report == polyseme.neuron(ended.id, 1, 7)
    assert first == polyseme.neurons(ended.id, sort="-max").first(3)
    assert jobs == [job.id for job in polyseme.jobs()]


def test_a_submit_that_is_repeated_makes_one_job(polyseme: Polyseme, ended: Job) -> None:
    first, second = (polyseme.submit(REQUEST, idempotency_key="once") for _ in range(2))

    assert first.id == second.id
    assert polyseme.wait(first.id).succeeded


def test_a_batch_is_submitted_waited_for_listed_and_deleted(polyseme: Polyseme, ended: Job) -> None:
    requests = [REQUEST | {"neurons": {"layers": layers}} for layers in ("0", "31", "1")]
    with pytest.raises(Invalid) as refused:
        polyseme.submit_batch(requests)
    fractions: list[float | None] = []

    batch = polyseme.submit_batch(requests, atomic=False, metadata={"run": "7"})
    done = polyseme.wait_batch(batch, lambda b: fractions.append(b.fraction))

    assert (refused.value.code, refused.value.pointers) == (
        "batch_refused",
        ["/jobs/1/neurons/layers"],
    )
    assert (done.counts.jobs, done.counts.succeeded, done.counts.refused) == (2, 2, 1)
    assert [entry.status for entry in done.entries] == ["succeeded", None, "succeeded"]
    assert done.entries[1].problem is not None
    assert done.entries[1].problem.code == "unknown_layer"
    assert fractions[-1] == 1.0
    assert polyseme.batches().first(1)[0].metadata == {"run": "7"}
    assert {job.id for job in polyseme.jobs(batch=batch.id)} == {
        e.job for e in done.entries if e.job
    }
    assert polyseme.cancel_batch(batch.id).counts.succeeded == 2
    polyseme.delete_batch(batch.id, with_jobs=True)
    for gone in (lambda: polyseme.batch(batch.id), lambda: polyseme.job(done.entries[0].job or "")):
        with pytest.raises(NotFound):
            gone()


def test_asyncio_has_batches_and_events_too(api: Api, key: str, ended: Job) -> None:
    async def run() -> tuple[Batch, list[list[Job]]]:
        async with AsyncPolyseme(api.url, api_key=key) as other:
            batch = await other.submit_batch([REQUEST | {"metadata": {"line": "a\u2028b"}}] * 2)
            events = [
                [job async for job in other.events(entry.job or "")] for entry in batch.entries
            ]
            return await other.wait_batch(batch), events

    batch, events = asyncio.run(run())

    assert batch.counts.succeeded == 2
    for states in events:
        assert states[-1].succeeded
        assert [job.has_ended for job in states[:-1]] == [False] * (len(states) - 1)
        assert states[0].metadata == {"line": "a\u2028b"}


def test_events_tell_of_a_job_from_its_submit_to_its_end(polyseme: Polyseme, ended: Job) -> None:
    states = list(polyseme.events(polyseme.submit(REQUEST)))

    revisions = [job.revision for job in states]
    assert revisions == sorted(set(revisions))
    assert states[-1].succeeded
    assert states[-1] == polyseme.job(states[-1].id)
    assert list(polyseme.events(ended)) == [ended]


def test_senses_are_made_anew_and_a_text_is_tried(polyseme: Polyseme, ended: Job) -> None:
    regrouped = polyseme.wait(polyseme.regroup(ended.id, same_at=0.2).id)
    found = polyseme.activations(ended.id, "the river and the bank", [(0, 3), (1, 7)])

    assert regrouped.succeeded
    assert regrouped.request["senses"]["same_at"] == 0.2
    assert [(n.layer, n.neuron) for n in found.neurons] == [(0, 3), (1, 7)]
    assert len(found.neurons[0].activations) == len(found.tokens) > 3
    assert "layer 1, neuron 7" in found._repr_html_()


def test_senses_say_the_languages_of_documents_also_when_made_anew(
    polyseme: Polyseme, ended: Job
) -> None:
    """The corpus is gone when they are made anew."""
    texts = make_texts(60, seed=3)
    corpus = polyseme.add_texts(texts, name="spoken", languages=["de", "English"] * 30)
    job = polyseme.wait(polyseme.submit(REQUEST | {"corpus": {"id": "spoken"}}))
    polyseme.delete_corpus("spoken")
    anew = polyseme.wait(polyseme.regroup(job.id, same_at=0.5))

    assert corpus.languages == {"English": 30, "de": 30}
    assert (job.succeeded, anew.succeeded, job.reused) == (True, True, ended.reused)
    for made in (job, anew):
        reports = [polyseme.neuron(made.id, 1, neuron) for neuron in range(12)]
        named = {found.language for r in reports for s in r.senses for found in s.languages}
        assert named == {"de", "English"}
    assert "language: " in next(r for r in reports if r.senses)._repr_html_()  # type: ignore[operator]


def test_an_export_is_the_whole_result(polyseme: Polyseme, ended: Job) -> None:
    file = io.BytesIO()

    size = polyseme.export(ended.id, "ndjson", file, layer=0)

    lines = file.getvalue().splitlines()
    assert (len(lines), size) == (48, len(file.getvalue()))
    assert json.loads(lines[5])["neuron"] == 5


def test_one_text_is_analysed_once_it_may_give_several_contexts(
    polyseme: Polyseme, ended: Job
) -> None:
    polyseme.add_texts([" ".join(make_texts(20, seed=9))], name="one-text")
    request = REQUEST | {"corpus": {"id": "one-text"}}
    with pytest.raises(Invalid, match=r'Send "contexts": \{"per_document": null\}') as refused:
        polyseme.submit(request)

    job = polyseme.wait(polyseme.submit(request | {"contexts": CONTEXTS | {"per_document": None}}))

    contexts = [
        c
        for c in polyseme.neuron(job.id, 1, 7).contexts
        if (c.tail, c.sample) == ("positive", "top")
    ]
    assert (refused.value.code, refused.value.pointers) == (
        "too_few_documents",
        ["/contexts/top_k"],
    )
    assert len({c.window for c in contexts}) == len(contexts) == CONTEXTS["top_k"]


def test_a_refusal_says_what_and_where(polyseme: Polyseme) -> None:
    with pytest.raises(Invalid) as refused:
        polyseme.submit(REQUEST | {"neurons": {"layers": "31"}})
    with pytest.raises(NotFound):
        polyseme.job("job_0199c2d3a1b24f6c8e1d5a7b9c3d")

    assert (refused.value.code, refused.value.pointers) == ("unknown_layer", ["/neurons/layers"])


def stop_workers(site: Site) -> None:
    for pid in site.started:
        if site.nursery.poll(pid) is None:
            os.kill(pid, signal.SIGKILL)
            await_that(lambda pid=pid: site.nursery.poll(pid) is not None, 10)  # type: ignore[misc]


def test_who_waits_lives_through_a_killed_api(
    site: Site, api: Api, key: str, polyseme: Polyseme
) -> None:
    """The client, a stream of events, the client of asyncio and the command, all waiting when the
    API dies.
    """
    polyseme.add_texts(make_texts(400, seed=5), name="long")
    stop_workers(site)
    site.start_worker(slow=0.1)
    job = polyseme.submit(REQUEST | {"corpus": {"id": "long"}}).id
    polyseme_watch = [
        sys.executable,
        "-m",
        "polyseme",
        "watch",
        job,
        "--json",
        "--url",
        api.url,
        "--api-key",
        key,
    ]

    async def wait() -> Job:
        async with AsyncPolyseme(api.url, api_key=key) as other:
            return await other.wait(job)

    with (
        subprocess.Popen(
            polyseme_watch,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as command,
        ThreadPoolExecutor(3) as threads,
    ):
        blocking, looping = threads.submit(polyseme.wait, job), threads.submit(asyncio.run, wait())
        events = threads.submit(lambda: [state.revision for state in polyseme.events(job)])
        assert command.stderr is not None
        seen = command.stderr.readline()
        await_that(lambda: site.job(job).progress.shards_done > 0, 60, site.logs)

        api.kill()
        time.sleep(1.5)
        assert not site.job(job).is_terminal
        api.start()

        output, errors = command.communicate(timeout=360)
        assert blocking.result(120).succeeded
        assert looping.result(120).succeeded
        assert events.result(120) == sorted(set(events.result()))
        assert events.result()[-1] == polyseme.job(job).revision
    assert command.returncode == 0, errors
    assert json.loads(output)["status"] == "succeeded"
    assert "trying again for up to 120 s" in seen + errors


def test_a_busy_service_is_asked_again_when_it_says(site: Site, polyseme: Polyseme) -> None:
    """Here no worker has described a listed model yet: the service says to come again in five
    seconds.
    """
    card = site.board.registry.get_card(MODEL)
    assert card is not None
    write_entry(
        Path(site.settings.catalogue), "later", ("path", str(site.data / "model")), None, None
    )
    began = time.monotonic()

    with ThreadPoolExecutor(1) as threads:
        planned = threads.submit(polyseme.plan, REQUEST | {"model": "later"})
        time.sleep(2)
        site.board.registry.put_card(replace(card, id="later"))

    assert planned.result().neurons == 96
    assert 5.0 <= time.monotonic() - began < 10.0


@pytest.mark.slow
def test_a_spent_allowance_is_waited_for_to_the_end_of_the_minute(site: Site, api: Api) -> None:
    accounts = site.board.accounts
    accounts.put_tenant(replace(accounts.get_tenant("hasty"), requests_per_minute=3))
    secret = accounts.create_key("hasty", ("read",), "")[1]
    with Polyseme(api.url, api_key=secret) as hasty:
        began = time.time()
        for _ in range(4):
            list(hasty.corpora())

    assert time.time() // 60 == began // 60 + 1
