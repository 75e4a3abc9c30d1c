from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from polyseme import Polyseme, Problem, Unreachable
from tests.client.standins import free_port
from tests.client.wire import Answer, Wire, estimate, job_state, neuron_report

_BUSY = Answer({"code": "unavailable", "detail": "the board is away"}, 503, {"Retry-After": "0"})


def test_submit_posts_the_request_with_a_key_of_its_own(client: Polyseme, wire: Wire) -> None:
    wire.on("POST /v1/jobs", Answer(job_state(), 202))
    request = {"model": "m", "corpus": {"id": "c"}}
    assert client.submit(request).id == "job_1"
    client.submit(request)
    keys = [a.headers["Idempotency-Key"] for a in wire.asked]
    assert wire.asked[0].json() == request
    assert len(set(keys)) == 2


def test_a_repeated_submit_has_the_same_key(client: Polyseme, wire: Wire) -> None:
    wire.on("POST /v1/jobs", _BUSY, Answer(job_state(), 202))
    assert client.submit({"model": "m"}).id == "job_1"
    first, second = wire.asked
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]


def test_a_service_that_stays_busy_becomes_a_problem_in_the_end(
    client: Polyseme, wire: Wire
) -> None:
    wire.on("GET /v1/jobs/job_1", _BUSY)
    with pytest.raises(Problem) as raised:
        client.job("job_1")
    assert (raised.value.status, raised.value.retry_after_s) == (503, 0.0)
    assert len(wire.asked) == 4


def test_a_refusal_carries_what_the_service_said(client: Polyseme, wire: Wire) -> None:
    problem = {
        "title": "Unprocessable Content",
        "status": 422,
        "detail": "layer 31 of m: it has 0 to 29",
        "code": "unknown_layer",
        "request_id": "abc",
        "errors": [{"pointer": "/neurons/layers", "detail": "layer 31"}],
    }
    wire.on("POST /v1/jobs", Answer(problem, 422, {"Content-Type": "application/problem+json"}))
    with pytest.raises(Problem, match="layer 31 of m: it has 0 to 29") as raised:
        client.submit({"model": "m"})
    assert (raised.value.code, raised.value.request_id) == ("unknown_layer", "abc")
    assert raised.value.errors == problem["errors"]


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"[1]", b""])
def test_an_error_that_is_no_problem_document_is_still_a_problem(
    client: Polyseme, wire: Wire, body: bytes
) -> None:
    wire.on("GET /v1/jobs/job_1", Answer(body, 502))
    with pytest.raises(Problem, match="status 502") as raised:
        client.job("job_1")
    assert raised.value.code == "http_error"


def test_no_answer_is_unreachable() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Polyseme(url, patience_s=0) as client, pytest.raises(Unreachable, match=url):
        client.job("job_1")


def test_wait_sends_the_tag_back_and_tells_only_changes(client: Polyseme, wire: Wire) -> None:
    wire.on(
        "GET /v1/jobs/job_1",
        Answer(job_state(), headers={"ETag": '"3"', "Retry-After": "0"}),
        Answer(status=304, headers={"Retry-After": "0"}),
        Answer(job_state(status="succeeded", revision=4), headers={"ETag": '"4"'}),
    )
    revisions: list[int] = []
    ended = client.wait("job_1", lambda job: revisions.append(job.revision))
    assert ended.status == "succeeded"
    assert revisions == [3, 4]
    assert [a.headers.get("If-None-Match") for a in wire.asked] == [None, '"3"', '"3"']


def test_wait_waits_as_long_as_the_service_asks(client: Polyseme, wire: Wire) -> None:
    wire.on(
        "GET /v1/jobs/job_1",
        Answer(job_state(), headers={"Retry-After": "1"}),
        Answer(job_state(status="failed")),
    )
    began = time.monotonic()
    assert client.wait("job_1").status == "failed"
    assert 1.0 <= time.monotonic() - began < 2.0


def test_neurons_follow_the_links_through_all_pages(client: Polyseme, wire: Wire) -> None:
    following = "/v1/jobs/job_1/neurons?sort=-max&limit=2&cursor=abc"
    wire.on(
        "GET /v1/jobs/job_1/neurons?sort=-max&limit=2",
        Answer(
            {"data": [{"neuron": 1}, {"neuron": 2}]}, headers={"Link": f'<{following}>; rel="next"'}
        ),
    )
    wire.on(f"GET {following}", Answer({"data": [{"neuron": 3}]}))
    assert [n.neuron for n in client.neurons("job_1", sort="-max", limit=2, token=None)] == [
        1,
        2,
        3,
    ]


def test_one_page_is_asked_for_when_one_is_read(client: Polyseme, wire: Wire) -> None:
    wire.on(
        "GET /v1/jobs?status=running",
        Answer(
            {"data": [job_state(), job_state()]},
            headers={"Link": '</v1/jobs?cursor=a>; rel="next"'},
        ),
    )
    assert next(iter(client.jobs(status="running"))).id == "job_1"
    assert len(wire.asked) == 1


def test_a_corpus_is_sent_as_a_stream(client: Polyseme, wire: Wire) -> None:
    wire.on("POST /v1/corpora?name=c", Answer({"id": "c", "documents": 2}, 201))
    lines = (f'{{"text": "{word}"}}\n'.encode() for word in ("one", "two"))
    assert client.add_corpus(lines, name="c").documents == 2
    assert wire.asked[0].headers["Transfer-Encoding"] == "chunked"
    assert wire.asked[0].headers["Content-Type"] == "application/x-ndjson"
    assert wire.asked[0].body == b'{"text": "one"}\n{"text": "two"}\n'


def test_a_file_is_uploaded_without_being_read_at_once(
    client: Polyseme, wire: Wire, tmp_path: Path
) -> None:
    (tmp_path / "c.txt").write_bytes(b"a line\n" * 100_000)
    wire.on("POST /v1/corpora", Answer({"id": "crp_1", "documents": 1}, 201))
    with (tmp_path / "c.txt").open("rb") as file:
        client.add_corpus(file, media_type="text/plain")
    assert wire.asked[0].body == b"a line\n" * 100_000


@pytest.mark.parametrize("kind", ["lists", "array", "tensor", "rows of arrays"])
def test_directions_are_sent_as_safetensors(client: Polyseme, wire: Wire, kind: str) -> None:
    numbers = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    bias = np.array([1.5, -2.0], np.float32)
    sent: Any = {
        "lists": numbers.tolist(),
        "array": numbers.astype(np.float64),
        "tensor": torch.from_numpy(numbers),
        "rows of arrays": list(numbers),
    }[kind]
    wire.on("POST /v1/vectors?normalize=true", Answer({"id": "vec_1", "count": 2}, 201))

    found = client.add_vectors(
        sent,
        model="m",
        site="resid_post",
        layer=3,
        bias=bias,
        labels=["a", "ü"],
        normalize=True,
    )

    assert (found.id, found.count) == ("vec_1", 2)
    assert wire.asked[0].headers["Content-Type"] == "application/octet-stream"
    body = safetensors.numpy.load(wire.asked[0].body)
    assert (body["vectors"] == numbers).all()
    assert (body["bias"] == bias).all()
    header = json.loads(wire.asked[0].body[8:].partition(b'},"vectors"')[0] + b"}}")
    said = header["__metadata__"]
    assert json.loads(said.pop("labels")) == ["a", "ü"]
    assert said == {"model": "m", "site": "resid_post", "layer": "3"}


def test_rows_of_several_lengths_are_not_sent(client: Polyseme, wire: Wire) -> None:
    with pytest.raises(ValueError, match="not all of one length"):
        client.add_vectors([[1.0], [1.0, 2.0]], model="m", site="s", layer=0)
    assert wire.asked == []


def test_sets_of_directions_are_read_listed_and_deleted(client: Polyseme, wire: Wire) -> None:
    one = {"id": "vec_1", "count": 2, "labels": ["a", "b"]}
    wire.on("GET /v1/vectors/vec_1", Answer(one))
    wire.on("GET /v1/vectors", Answer({"data": [one | {"labels": None}]}))
    wire.on("DELETE /v1/vectors/vec_1", Answer(status=204))

    assert client.vectors("vec_1").labels == ("a", "b")
    assert [found.labels for found in client.vector_sets()] == [None]
    client.delete_vectors("vec_1")


def test_a_refused_upload_is_not_repeated(client: Polyseme, wire: Wire) -> None:
    wire.on("POST /v1/corpora", _BUSY)
    with pytest.raises(Problem):
        client.add_corpus(iter([b"x"]))
    assert len(wire.asked) == 1


def test_export_writes_what_comes(client: Polyseme, wire: Wire) -> None:
    wire.on("GET /v1/jobs/job_1/export?format=parquet", Answer(b"PK" * 50_000))
    file = io.BytesIO()
    assert client.export("job_1", "parquet", file) == 100_000
    assert file.getvalue() == b"PK" * 50_000


def test_a_refused_export_writes_nothing(client: Polyseme, wire: Wire) -> None:
    wire.on(
        "GET /v1/jobs/job_1/export?format=parquet",
        Answer({"code": "conflict", "detail": "still runs"}, 409),
    )
    file = io.BytesIO()
    with pytest.raises(Problem, match="still runs"):
        client.export("job_1", "parquet", file)
    assert file.getvalue() == b""


def test_cancel_delete_summary_and_neuron_ask_for_their_paths(client: Polyseme, wire: Wire) -> None:
    wire.on("POST /v1/jobs/job_1/cancel", Answer(job_state(status="cancelling"), 202))
    wire.on("DELETE /v1/jobs/job_1", Answer(status=204))
    wire.on("GET /v1/jobs/job_1/summary", Answer({"layers": []}))
    wire.on("GET /v1/jobs/job_1/summary?beside=job_2", Answer({"says": "alike"}))
    wire.on("GET /v1/jobs/job_1/neurons/3/7", Answer(neuron_report()))
    wire.on("POST /v1/jobs?dry_run=true", Answer(estimate(tokens=5)))
    assert client.cancel("job_1").status == "cancelling"
    client.delete("job_1")
    assert client.summary("job_1") == {"layers": []}
    assert client.summary("job_1", beside="job_2") == {"says": "alike"}
    assert client.neuron("job_1", 3, 7).neuron == 7
    assert client.plan({"model": "m"}).tokens == 5


def test_a_list_is_sent_with_commas(client: Polyseme, wire: Wire) -> None:
    wire.on("GET /v1/jobs/job_1/neurons?fields=layer%2Cmeaning&layer=0%2C3", Answer({"data": []}))

    assert list(client.neurons("job_1", fields=["layer", "meaning"], layer=(0, 3))) == []
