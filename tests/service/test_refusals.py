"""Bad input over HTTP: refused with status, code and pointer; nothing reaches the queue; the
service goes on.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import redis

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Store
from polyseme.contract.tickets import ticket_keys
from polyseme.service.app import create_app
from polyseme.service.http.cursors import Cursors
from tests.factories import add_corpus, make_body, make_card, open_job, run_job, write_result
from tests.service.conftest import make_settings, serving

JOB = "job_" + "0" * 28


@dataclass(frozen=True)
class Refusal:
    """A request, and the answer it must get."""

    name: str
    status: int
    code: str
    pointer: str | None = None
    method: str = "POST"
    path: str = "/v1/jobs"
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


def job(
    name: str,
    pointer: str | None,
    *,
    status: int = 422,
    code: str = "invalid_request",
    **changes: Any,
) -> Refusal:
    body = json.dumps(make_body(**changes)).encode()
    return Refusal(
        name, status, code, pointer, body=body, headers={"Content-Type": "application/json"}
    )


def raw(
    name: str, body: bytes, status: int = 400, code: str = "malformed_request", **headers: str
) -> Refusal:
    return Refusal(
        name, status, code, body=body, headers={"Content-Type": "application/json"} | headers
    )


def upload(
    name: str,
    body: bytes,
    status: int,
    code: str,
    pointer: str | None = None,
    kind: str = "text/plain",
    **more: Any,
) -> Refusal:
    path = "/v1/corpora" + more.pop("query", "")
    return Refusal(
        name, status, code, pointer, path=path, body=body, headers={"Content-Type": kind} | more
    )


def get(
    name: str, path: str, status: int, code: str, pointer: str | None = None, **headers: str
) -> Refusal:
    return Refusal(name, status, code, pointer, method="GET", path=path, headers=headers)


GOOD = json.dumps(make_body()).encode()
DONE = "/v1/jobs/{done}"
BAD_QUERY = (422, "invalid_request")

REFUSALS = [
    # Wrong types
    job("a string for a number", "/contexts/top_k", contexts={"top_k": "20"}),
    job("true for a number", "/contexts/top_k", contexts={"top_k": True}),
    job("a fraction for a number", "/contexts/window", contexts={"window": 128.0}),
    job("a number for a flag", "/tokens/exclude_special", tokens={"exclude_special": 1}),
    job("null for an object", "/contexts", contexts=None),
    job("a list for an object", "/neurons", neurons=[]),
    job("a number for the model", "/model", model=7),
    job("an object for layers", "/neurons/layers", neurons={"layers": {"0": 1}}),
    job("a fraction among layers", "/neurons/layers/1", neurons={"layers": [0, 1.5]}),
    job("a negative layer", "/neurons/layers/0", neurons={"layers": [-1]}),
    job("a number in metadata", "/metadata/run", metadata={"run": 3}),
    job("too much metadata", "/metadata", metadata={str(i): "" for i in range(17)}),
    raw("a list for the request", b"[]", 422, "invalid_request"),
    # Unknown fields
    job("an unknown field", "/topk", topk=20),
    job("an unknown field below", "/contexts/top-k", contexts={"top-k": 20}),
    job("an unknown field in the corpus", "/corpus/url", corpus={"url": "http://169.254.169.254/"}),
    job("an unknown choice", "/contexts/sampling", contexts={"sampling": "random"}),
    # Out of range
    job("a layer out of range", "/neurons/layers", code="unknown_layer", neurons={"layers": "0-4"}),
    job(
        "a neuron out of range",
        "/neurons/indices",
        code="unknown_neuron",
        neurons={"indices": [48]},
    ),
    job(
        "SQL for layers",
        "/neurons/layers",
        code="invalid_selection",
        neurons={"layers": "0; DROP TABLE x"},
    ),
    job("no dictionary of ours", "/neurons/dictionary", neurons={"dictionary": "gpt2-res"}),
    job("no id among them", "/neurons/dictionary/0", neurons={"dictionary": ["a/b"]}),
    job("no layers", "/neurons/layers", neurons={"layers": []}),
    job("k of zero", "/contexts/top_k", contexts={"top_k": 0}),
    job("k beyond the corpus", "/contexts/top_k", code="too_few_documents", contexts={"top_k": 31}),
    job("k beyond the limit", "/contexts/top_k", contexts={"top_k": 10**6}),
    job("a window beyond the model", "/contexts/window", contexts={"window": 513}),
    job("a tiny window", "/contexts/window", contexts={"window": 7}),
    job(
        "a display beyond the window", "/contexts/display_tokens", contexts={"display_tokens": 129}
    ),
    job("alpha beside same_at", "/senses/alpha", senses={"alpha": 0.05, "same_at": 0.35}),
    job("vectors of the neuron's own", "/senses/vectors", senses={"vectors": "neuron"}),
    job("samples that fill no bands", "/contexts/sampled", contexts={"sampled": 21, "bands": 5}),
    job("every position excluded", "/tokens/exclude_positions", tokens={"exclude_positions": 128}),
    # Models and corpora
    job("a model that is not listed", "/model", code="model_not_listed", model="gpt-5"),
    job("a path for a model", "/model", code="model_not_listed", model="../../etc/passwd"),
    job("a model that cannot run", "/model", model="broken"),
    job("a model nobody has seen", None, status=503, code="unavailable", model="unseen"),
    job("an unknown corpus", "/corpus/id", code="corpus_not_found", corpus={"id": "nothing"}),
    job("a path for a corpus", "/corpus/id", corpus={"id": "../notes"}),
    job("no corpus", "/corpus", corpus={}),
    job("two corpora", "/corpus", corpus={"id": "notes", "texts": ["a"]}),
    job("no texts", "/corpus/texts", corpus={"texts": []}),
    job("blank texts", None, code="invalid_corpus", corpus={"texts": [" ", "\n"]}),
    job(
        "too many texts",
        None,
        status=413,
        code="too_large",
        corpus={"texts": [str(i) for i in range(1001)]},
    ),
    job(
        "texts beyond the body's limit",
        None,
        status=413,
        code="too_large",
        corpus={"texts": ["x" * 70_000]},
    ),
    # JSON
    raw("no body", b""),
    raw("broken JSON", b'{"model": '),
    raw("NaN", GOOD.replace(b'"notes"', b"NaN")),
    raw("infinity", b'{"contexts": {"top_k": 1e999}}'),
    raw("a name twice", b'{"model": "a", "model": "b"}'),
    raw("deep JSON", b'{"a":' * 10_000),
    raw("a number of many digits", b'{"model": ' + b"9" * 10_000 + b"}"),
    raw("invalid UTF-8", GOOD.replace(b"notes", b"no\xfftes")),
    raw("half a surrogate pair", GOOD.replace(b"notes", rb"\ud800")),
    raw(
        "another content type",
        GOOD,
        415,
        "unsupported_media_type",
        **{"Content-Type": "text/plain"},
    ),
    raw(
        "another charset",
        GOOD,
        415,
        "unsupported_media_type",
        **{"Content-Type": "application/json; charset=utf-16"},
    ),
    raw(
        "packed JSON",
        gzip.compress(GOOD),
        415,
        "unsupported_media_type",
        **{"Content-Encoding": "gzip"},
    ),
    # Headers
    raw("a bad Prefer", GOOD, Prefer="wait=soon"),
    raw("too long a wait", GOOD, Prefer="wait=3600"),
    raw("a bad Idempotency-Key", GOOD, **{"Idempotency-Key": "has spaces in it"}),
    raw("a huge Idempotency-Key", GOOD, **{"Idempotency-Key": "k" * 300}),
    # Uploads
    upload("invalid UTF-8 in a text", b"fine\nn\xff\n", 422, "invalid_corpus", "/1"),
    upload("an empty text", b"", 422, "invalid_corpus"),
    upload("a huge text", b"line of text\n" * 90_000, 413, "too_large"),
    upload(
        "a gzip bomb",
        gzip.compress(b"line of text\n" * (5 << 20)),
        413,
        "too_large",
        **{"Content-Encoding": "gzip"},
    ),
    upload(
        "damaged gzip",
        gzip.compress(b"text")[:-4],
        400,
        "malformed_request",
        **{"Content-Encoding": "gzip"},
    ),
    upload("no gzip at all", b"text", 400, "malformed_request", **{"Content-Encoding": "gzip"}),
    upload(
        "an encoding that is not taken",
        b"x",
        415,
        "unsupported_media_type",
        **{"Content-Encoding": "br"},
    ),
    upload(
        "zeros, packed",
        gzip.compress(b"\0" * (64 << 20)),
        415,
        "unsupported_media_type",
        kind="application/gzip",
    ),
    upload(
        "a form", b"a=b", 415, "unsupported_media_type", kind="application/x-www-form-urlencoded"
    ),
    upload(
        "a bad JSON line",
        b'{"text": "a"}\n{"text"\n',
        422,
        "invalid_corpus",
        "/1",
        "application/x-ndjson",
    ),
    upload(
        "a line without text", b'{"txt": "a"}\n', 422, "invalid_corpus", "/0", "application/jsonl"
    ),
    upload("JSON lines as text", b'{"text": "a"}\n', 422, "invalid_corpus", "/0"),
    upload("a PDF for a text", b"%PDF-1.7 \xe2", 415, "unsupported_media_type"),
    upload("a table without a field", b"a,b\n", 422, "invalid_corpus", "/field", "text/csv"),
    upload("two formats", b"x", *BAD_QUERY, "/format", query="?format=jsonl"),
    upload("an unknown format of a file", b"x", *BAD_QUERY, "/format", query="?format=docx"),
    upload("an unknown care", b"x", *BAD_QUERY, "/on_bad_line", query="?on_bad_line=mend"),
    upload("a path for a name", b"x", *BAD_QUERY, "/name", query="?name=../x"),
    upload("a reserved name", b"x", *BAD_QUERY, "/name", query="?name=crp_0"),
    upload("an unknown way to split", b"x", *BAD_QUERY, "/sample_by", query="?sample_by=word"),
    upload("a name in use", b"other content", 409, "conflict", query="?name=notes"),
    # Paths and ids
    get("an unknown path", "/v1/nothing", 404, "not_found"),
    get("an unknown job", f"/v1/jobs/{JOB}", 404, "not_found"),
    get("a job id that climbs", "/v1/jobs/..%2f..%2fetc%2fpasswd", 404, "not_found"),
    get("a job id with a wildcard", "/v1/jobs/job_*", 404, "not_found"),
    get("a job id with a newline", f"/v1/jobs/{JOB}%0a", 404, "not_found"),
    get("a job id with NUL", f"/v1/jobs/{JOB}%00", 404, "not_found"),
    get("an upper case job id", f"/v1/jobs/JOB_{'0' * 28}", 404, "not_found"),
    get("an unknown corpus by path", "/v1/corpora/nothing", 404, "not_found"),
    get("a corpus that climbs", "/v1/corpora/..", 404, "not_found"),
    get("an unknown model by path", "/v1/models/nothing", 404, "not_found"),
    get("an unknown dictionary by path", "/v1/dictionaries/nothing", 404, "not_found"),
    get("an empty segment", "/v1//jobs", 404, "not_found"),
    get("a negative neuron", DONE + "/neurons/0/-1", 404, "not_found"),
    get("a neuron in another script", DONE + "/neurons/0/%D9%A1", 404, "not_found"),
    get("a neuron beyond the result", DONE + "/neurons/0/48", 404, "not_found"),
    Refusal("a wrong method", 405, "method_not_allowed", method="PUT"),
    # Queries
    get("an unknown parameter", "/v1/jobs?page=2", *BAD_QUERY, "/page"),
    get("a parameter where none is taken", "/v1/models?x=1", *BAD_QUERY, "/x"),
    get("a parameter twice", "/v1/jobs?limit=1&limit=2", *BAD_QUERY, "/limit"),
    get("a limit of zero", "/v1/jobs?limit=0", *BAD_QUERY, "/limit"),
    get("a limit that is no number", "/v1/jobs?limit=ten", *BAD_QUERY, "/limit"),
    get("an unknown status", "/v1/jobs?status=done", *BAD_QUERY, "/status"),
    get("too many neurons a page", DONE + "/neurons?limit=1001", *BAD_QUERY, "/limit"),
    get("SQL in a filter", DONE + "/neurons?layer=0%20OR%201=1", *BAD_QUERY, "/layer"),
    get("SQL in the order", DONE + "/neurons?sort=max;DROP%20TABLE%20x", *BAD_QUERY, "/sort"),
    get("an unknown column", DONE + "/neurons?fields=layer,secret", *BAD_QUERY, "/fields"),
    get("NaN for a bound", DONE + "/neurons?min_max=nan", *BAD_QUERY, "/min_max"),
    get("a bound beyond numbers", DONE + "/neurons?min_max=1e999", *BAD_QUERY, "/min_max"),
    get("an unknown format", DONE + "/export?format=csv", *BAD_QUERY, "/format"),
    get("a layer the result has not", DONE + "/export?format=ndjson&layer=9", *BAD_QUERY, "/layer"),
    get("no job id beside a job", DONE + "/summary?beside=last", *BAD_QUERY, "/beside"),
    get("a job beside itself", DONE + "/summary?beside={done}", *BAD_QUERY, "/beside"),
    get("a parameter of a summary", DONE + "/summary?other=x", *BAD_QUERY, "/other"),
    get("a bad wait on a poll", DONE, 400, "malformed_request", Prefer="wait=x"),
    # Cursors
    get("no cursor of ours", DONE + "/neurons?cursor=abc", 400, "bad_cursor", "/cursor"),
    get("another job's cursor", DONE + "/neurons?cursor={other}", 400, "bad_cursor", "/cursor"),
    get(
        "a cursor of another order",
        DONE + "/neurons?sort=max&cursor={own}",
        400,
        "bad_cursor",
        "/cursor",
    ),
    get("a neurons cursor for jobs", "/v1/jobs?cursor={own}", 400, "bad_cursor", "/cursor"),
    get("an expired cursor", DONE + "/neurons?cursor={expired}", 410, "expired_cursor", "/cursor"),
    # States
    get("the result of a job that runs", "/v1/jobs/{open}/summary", 409, "job_not_finished"),
    get("a job that runs beside one", DONE + "/summary?beside={open}", 409, "job_not_finished"),
    get("no job beside one", DONE + f"/summary?beside={JOB}", 404, "not_found"),
    get("the neurons of a job that runs", "/v1/jobs/{open}/neurons", 409, "job_not_finished"),
    Refusal("deleting a job that runs", 409, "conflict", method="DELETE", path="/v1/jobs/{open}"),
    Refusal("deleting a corpus in use", 409, "conflict", method="DELETE", path="/v1/corpora/notes"),
]


@dataclass(frozen=True)
class Site:
    """A service on a real port, shared by the module: a refused request leaves nothing behind."""

    http: httpx.Client
    board: Board
    queue: redis.Redis
    names: Mapping[str, str]  # what paths may name in braces

    def fill(self, path: str) -> str:
        return path.format_map(self.names) if "{" in path else path

    def tickets(self) -> int:
        return sum(int(self.queue.llen(key)) for key in ticket_keys().values())


@pytest.fixture(scope="module")
def site(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    redis.Redis.from_url(redis_server).flushall()
    settings = make_settings(redis_server, tmp_path_factory.mktemp("site"))
    board, store = Board.connect(redis_server), Store(settings.store)
    board.registry.put_card(make_card())
    board.registry.put_card(make_card(id="broken", error="no such architecture"))
    add_corpus(board, store)
    done = open_job(board).id
    write_result(store, done)
    run_job(board, done)
    cursors = Cursors(board.registry.get_secret())
    names = {
        "done": done,
        "open": open_job(board).id,
        "own": cursors.seal(done, {}, 1),
        "other": cursors.seal(JOB, {}, 1),
        "expired": seal_old(cursors, done),
    }
    with serving(create_app(settings)) as client:
        yield Site(client, board, redis.Redis.from_url(redis_server), names)


def seal_old(cursors: Cursors, subject: str) -> str:
    """A cursor sealed two days ago."""
    then = time.time() - 2 * 24 * 3600
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: then)
        return cursors.seal(subject, {}, 0)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda r: r.name)
def test_bad_input_is_refused_and_the_service_goes_on(refusal: Refusal, site: Site) -> None:
    jobs = {j.id for j in site.board.jobs.newest_first()}

    answer = site.http.request(
        refusal.method, site.fill(refusal.path), content=refusal.body, headers=refusal.headers
    )

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (refusal.status, refusal.code), problem
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    if refusal.pointer is not None:
        assert refusal.pointer in [e["pointer"] for e in problem["errors"]], problem
    assert {j.id for j in site.board.jobs.newest_first()} == jobs
    assert site.tickets() == 0
    assert site.http.get("/readyz").json()["status"] == "ready"


def test_there_are_at_least_forty() -> None:
    assert len({r.name for r in REFUSALS}) == len(REFUSALS) >= 40
