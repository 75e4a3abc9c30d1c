from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

import polyseme as package
from polyseme import AsyncPolyseme, Busy, Polyseme
from polyseme.problems import ClientError
from polyseme.tables import MissingExtra
from tests.client.standins import REPOSITORY
from tests.client.wire import Answer, Wire, grouped_report, job_state

T = TypeVar("T")

_FIRST, _SECOND = "/v1/jobs/job_1/neurons?sort=-max", "/v1/jobs/job_1/neurons?sort=-max&cursor=a"


def with_async(wire: Wire, act: Callable[[AsyncPolyseme], Awaitable[T]]) -> T:
    async def run() -> T:
        async with AsyncPolyseme(wire.url, patience_s=5) as polyseme:
            return await act(polyseme)

    return asyncio.run(run())


def two_pages(wire: Wire) -> None:
    rows = [{"layer": 0, "neuron": n, "max": 9.0 - n} for n in range(4)]
    wire.on(
        f"GET {_FIRST}",
        Answer({"data": rows[:2], "total": 4}, headers={"Link": f'<{_SECOND}>; rel="next"'}),
    )
    wire.on(f"GET {_SECOND}", Answer({"data": rows[2:], "total": 4}))


def test_what_the_package_offers_is_there() -> None:
    assert all(getattr(package, name) for name in package.__all__)
    assert issubclass(package.Busy, ClientError)


def test_the_address_and_the_key_come_from_the_environment(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYSEME_URL", wire.url)
    monkeypatch.setenv("POLYSEME_API_KEY", "psk_a")
    wire.on("GET /v1/models", Answer({"data": [{"id": "m", "layers": 3}]}))

    with Polyseme() as polyseme:
        models = list(polyseme.models())

    assert (models[0].id, models[0].layers, models[0].neurons) == ("m", 3, None)
    assert wire.asked[0].headers["Authorization"] == "Bearer psk_a"


def test_dictionaries_are_listed_read_and_named_in_a_request(wire: Wire) -> None:
    row = {"id": "res-9", "model": "m", "state": "ready", "latents": 64}
    wire.on("GET /v1/dictionaries", Answer({"data": [row, row | {"id": "other"}]}))
    wire.on("GET /v1/dictionaries?model=m", Answer({"data": [row]}))
    wire.on("GET /v1/dictionaries/res-9", Answer(row))
    wire.on("POST /v1/jobs", Answer(job_state(), 202))
    request = {"model": "m", "corpus": {"id": "c"}, "neurons": {"dictionary": "res-9"}}

    with Polyseme(wire.url) as polyseme:
        assert [d.id for d in polyseme.dictionaries()] == ["res-9", "other"]
        assert [d.id for d in polyseme.dictionaries().first(1)] == ["res-9"]
        assert [d.latents for d in polyseme.dictionaries("m")] == [64]
        assert polyseme.dictionary("res-9").layer is None
        polyseme.submit(request)

    assert json.loads(wire.asked[-1].body)["neurons"] == {"dictionary": "res-9"}


def test_pages_are_asked_for_as_they_are_read(wire: Wire) -> None:
    two_pages(wire)
    with Polyseme(wire.url) as polyseme:
        rows = polyseme.neurons("job_1", sort="-max")
        assert next(iter(rows)).max == 9.0
        assert len(wire.asked) == 1
        assert [row.neuron for row in rows] == [0, 1, 2, 3]


def test_pages_are_asked_for_as_they_are_read_with_asyncio(wire: Wire) -> None:
    two_pages(wire)

    async def read(polyseme: AsyncPolyseme) -> list[int | None]:
        return [row.neuron async for row in polyseme.neurons("job_1", sort="-max")]

    assert with_async(wire, read) == [0, 1, 2, 3]


def test_the_first_rows_are_asked_for_with_a_limit(wire: Wire) -> None:
    wire.on("GET /v1/jobs/job_1/neurons?limit=2", Answer({"data": [{"neuron": 1}, {"neuron": 2}]}))
    with Polyseme(wire.url) as polyseme:
        assert [row.neuron for row in polyseme.neurons("job_1").first(2)] == [1, 2]
    assert [r.neuron for r in with_async(wire, lambda p: p.neurons("job_1").first(2))] == [1, 2]


def test_a_list_of_neurons_shows_itself_in_a_notebook(wire: Wire) -> None:
    row = {"layer": 14, "neuron": 7, "polysemanticity": 0.8}
    wire.on("GET /v1/jobs/job_1/neurons?limit=20&layer=14", Answer({"data": [row], "total": 1536}))
    with Polyseme(wire.url) as polyseme:
        page = polyseme.neurons("job_1", layer=14)._repr_html_()
    assert page is not None
    assert "<td>0.800</td>" in page
    assert "1 of 1,536 neurons" in page


def test_control_units_are_rows_of_their_own(wire: Wire) -> None:
    page = {"data": [{"layer": 1, "ghost": 7, "coverage": 0.5}], "next_cursor": None}
    wire.on("GET /v1/jobs/job_1/controls?layer=1", Answer(page))
    with Polyseme(wire.url) as polyseme:
        [row] = polyseme.controls("job_1", layer=1)
    assert (row.layer, row.ghost, row.coverage, row.selectivity) == (1, 7, 0.5, None)


def test_retry_after_is_obeyed_by_both(wire: Wire) -> None:
    busy = Answer({"code": "too_many_requests", "detail": "slower"}, 429, {"Retry-After": "0.3"})
    wire.on("GET /v1/jobs/job_1", busy, Answer(job_state()), busy, Answer(job_state()))
    with Polyseme(wire.url) as polyseme:
        assert polyseme.job("job_1").progress.fraction == 0.25
    assert with_async(wire, lambda p: p.job("job_1")).id == "job_1"
    assert len(wire.asked) == 4


def test_a_service_that_stays_busy_is_a_problem_of_its_kind(wire: Wire) -> None:
    wire.on(
        "GET /v1/jobs/job_1",
        Answer({"code": "unavailable", "detail": "d"}, 503, {"Retry-After": "0"}),
    )
    with Polyseme(wire.url, patience_s=0) as polyseme, pytest.raises(Busy) as raised:
        polyseme.job("job_1")
    assert raised.value.retry_after_s == 0


def test_uploads_stream_and_exports_arrive_with_asyncio(wire: Wire, tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_bytes(b"a line\n" * 100_000)
    wire.on(
        "POST /v1/corpora?name=mine&filename=c.txt", Answer({"id": "mine", "documents": 1}, 201)
    )
    wire.on("GET /v1/jobs/job_1/export?format=ndjson&layer=3", Answer(b"{}\n" * 100_000))
    file = io.BytesIO()

    async def act(polyseme: AsyncPolyseme) -> int:
        await polyseme.add_file(tmp_path / "c.txt", name="mine")
        return await polyseme.export("job_1", "ndjson", file, layer=3)

    assert with_async(wire, act) == len(file.getvalue()) == 300_000
    assert wire.asked[0].body == b"a line\n" * 100_000
    assert wire.asked[0].headers["Transfer-Encoding"] == "chunked"


def test_regrouping_posts_what_changes_with_a_key(wire: Wire) -> None:
    wire.on("POST /v1/jobs/job_1/senses", Answer(job_state(id="job_2"), 202))
    with Polyseme(wire.url) as polyseme:
        assert polyseme.regroup("job_1", same_at=0.5, min_contexts=3).id == "job_2"
    assert wire.asked[0].json() == {"same_at": 0.5, "min_contexts": 3}
    assert wire.asked[0].headers["Idempotency-Key"]


def test_a_text_is_polled_to_its_end(wire: Wire) -> None:
    waiting = {"id": "act_1", "status": "queued", "tokens": None, "neurons": None}
    wire.on("POST /v1/activations", Answer(waiting, 202, {"Preference-Applied": "wait=20"}))
    ended = {"id": "act_1", "status": "succeeded", "tokens": [{"token": "a"}], "neurons": []}
    wire.on(
        "GET /v1/activations/act_1", Answer(waiting, headers={"Retry-After": "0"}), Answer(ended)
    )
    with Polyseme(wire.url) as polyseme:
        assert polyseme.activations("job_1", "a", [(3, 7)]).tokens[0].token == "a"
    assert [a.method for a in wire.asked] == ["POST", "GET", "GET"]


def test_events_are_followed_over_broken_streams_to_the_end(wire: Wire) -> None:
    def event(revision: int, kind: str = "progress") -> bytes:
        state = json.dumps(
            job_state(revision=revision, status="succeeded" if kind == "ended" else "running")
        )
        return f"id: {revision}\nevent: {kind}\ndata: {state}\n\n".encode()

    begin = Answer(b"retry: 10\n\n" + event(1) + event(2) + b"id: 3\nevent: prog")
    answers = (begin, Answer(event(4) + event(7, "ended")))
    wire.on("GET /v1/jobs/job_1/events", *answers, *answers)

    async def read(polyseme: AsyncPolyseme) -> list[int]:
        return [job.revision async for job in polyseme.events("job_1")]

    with Polyseme(wire.url) as polyseme:
        jobs = list(polyseme.events("job_1"))

    assert [job.revision for job in jobs] == with_async(wire, read) == [1, 2, 4, 7]
    assert [job.has_ended for job in jobs] == [False, False, False, True]
    assert [a.headers.get("Last-Event-ID") for a in wire.asked] == [None, "2"] * 2


def test_events_end_when_the_service_says_that_there_are_no_more(wire: Wire) -> None:
    wire.on("GET /v1/jobs/job_1/events", Answer(status=204))
    with Polyseme(wire.url) as polyseme:
        assert list(polyseme.events("job_1")) == []


def test_a_batch_is_posted_with_a_key_and_waited_for(wire: Wire) -> None:
    state = {"id": "bat_1", "status": "running", "entries": [{"index": 0, "job": "job_1"}]}
    wire.on("POST /v1/batches", Answer(state, 202))
    wire.on(
        "GET /v1/batches/bat_1",
        Answer(state, headers={"Retry-After": "0"}),
        Answer(state | {"status": "ended"}),
    )
    seen: list[str] = []

    with Polyseme(wire.url) as polyseme:
        batch = polyseme.submit_batch([{"model": "m"}], atomic=False, webhook="https://a.example/")
        ended = polyseme.wait_batch(batch, lambda b: seen.append(b.status))

    assert wire.asked[0].json() == {
        "jobs": [{"model": "m"}],
        "atomic": False,
        "webhook": {"url": "https://a.example/"},
    }
    assert wire.asked[0].headers["Idempotency-Key"]
    assert [entry.job for entry in ended.entries] == ["job_1"]
    assert (seen, ended.has_ended) == (["running", "ended"], True)


def test_what_the_jobs_of_a_batch_found_is_read_page_by_page(wire: Wire) -> None:
    rows = [
        {"index": 0, "job": "job_1", "status": "succeeded", "summary": {"neurons": 2}},
        {"index": 2, "job": "job_2", "status": "failed", "summary": None},
    ]
    path = "/v1/batches/bat_1/summaries"
    link = {"Link": f'<{path}?cursor=on>; rel="next"'}
    wire.on(f"GET {path}", Answer({"data": rows[:1]}, headers=link))
    wire.on(f"GET {path}?cursor=on", Answer({"data": rows[1:]}))
    with Polyseme(wire.url) as polyseme:
        first, second = polyseme.batch_summaries("bat_1")

    assert first.summary is not None
    assert (first.summary.neurons, first.summary.examples, second.summary) == (2, (), None)
    assert (second.index, second.job, second.status) == (2, "job_2", "failed")


def test_a_neuron_is_a_record(wire: Wire) -> None:
    wire.on("GET /v1/jobs/job_1/neurons/3/7", Answer(grouped_report()))
    with Polyseme(wire.url) as polyseme:
        assert [s.share for s in polyseme.neuron("job_1", 3, 7).senses] == [0.8, 0.2]


def test_an_extra_that_is_not_installed_is_named(wire: Wire) -> None:
    code = """
import sys
sys.modules["pyarrow"] = None
from polyseme.tables import MissingExtra, read_arrow
try:
    read_arrow(b"")
except MissingExtra as e:
    print(e)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.stdout == "This needs arrow: pip install 'polyseme[arrow]'\n"
    assert issubclass(MissingExtra, ClientError)
