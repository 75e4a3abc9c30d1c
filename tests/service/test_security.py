"""Attempts at what is another's: two tenants on one service, and a caller who means ill. None may
succeed, change anything, or learn whether what it asked for exists.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import redis

from polyseme.contract.board.batches import NewJob
from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.records.job import ACTIVATIONS, ActivationsRequest
from polyseme.contract.records.tenants import Scope
from polyseme.contract.tickets import ticket_keys
from polyseme.service.app import create_app
from polyseme.service.http.cursors import Cursors
from tests.factories import (
    MODEL,
    add_corpus,
    add_vectors,
    make_body,
    make_card,
    make_request,
    run_job,
    write_result,
)
from tests.service.conftest import make_settings, serving

MARK = "acme-only"  # in everything of the victim's that could leak
METHODS = {"get", "post", "put", "patch", "delete"}
JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain"}


@dataclass(frozen=True)
class Attempt:
    """A request of the tenant beta, or of nobody, and the refusal it must get."""

    name: str
    status: int
    code: str
    method: str = "GET"
    path: str = "/v1/jobs"
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    key: str | None = "admin"  # of `Site.secrets`


def post(name: str, status: int, code: str, path: str, body: Any, **more: Any) -> Attempt:
    return Attempt(
        name,
        status,
        code,
        "POST",
        path,
        json.dumps(body).encode(),
        JSON | more.pop("headers", {}),
        **more,
    )


CHECK = {"job": "{job}", "text": "The river.", "neurons": [{"layer": 0, "neuron": 1}]}

# Every operation on something of the tenant acme.
FOREIGN = [
    Attempt("follows a job's events", 404, "not_found", path="/v1/jobs/{job}/events"),
    Attempt("reads a job", 404, "not_found", path="/v1/jobs/{job}"),
    Attempt(
        "waits for a job", 404, "not_found", path="/v1/jobs/{open}", headers={"Prefer": "wait=1"}
    ),
    Attempt(
        "guesses a job's tag",
        404,
        "not_found",
        path="/v1/jobs/{job}",
        headers={"If-None-Match": "*"},
    ),
    Attempt("cancels a job", 404, "not_found", "POST", "/v1/jobs/{open}/cancel"),
    Attempt("deletes a job", 404, "not_found", "DELETE", "/v1/jobs/{job}"),
    Attempt("reads a summary", 404, "not_found", path="/v1/jobs/{job}/summary"),
    Attempt(
        "sets a result beside its own",
        404,
        "not_found",
        path="/v1/jobs/{own}/summary?beside={job}",
    ),
    Attempt(
        "sets its own beside a result",
        404,
        "not_found",
        path="/v1/jobs/{job}/summary?beside={own}",
    ),
    Attempt("reads a manifest", 404, "not_found", path="/v1/jobs/{job}/manifest"),
    Attempt("lists neurons", 404, "not_found", path="/v1/jobs/{job}/neurons"),
    Attempt("lists control units", 404, "not_found", path="/v1/jobs/{job}/controls"),
    Attempt("reads a neuron", 404, "not_found", path="/v1/jobs/{job}/neurons/0/1"),
    Attempt(
        "guesses a neuron's tag",
        404,
        "not_found",
        path="/v1/jobs/{job}/neurons/0/1",
        headers={"If-None-Match": "*"},
    ),
    Attempt("reads a tree", 404, "not_found", path="/v1/jobs/{job}/neurons/0/1/tree"),
    Attempt("exports Parquet", 404, "not_found", path="/v1/jobs/{job}/export?format=parquet"),
    Attempt("exports lines", 404, "not_found", path="/v1/jobs/{job}/export?format=ndjson"),
    Attempt(
        "exports one file",
        404,
        "not_found",
        path="/v1/jobs/{job}/export?format=parquet&file=neurons",
    ),
    post("regroups a job", 404, "not_found", "/v1/jobs/{job}/senses", {"same_at": 0.5}),
    post("checks a text with a job", 404, "not_found", "/v1/activations", CHECK),
    Attempt("reads a live check", 404, "not_found", path="/v1/activations/{check}"),
    Attempt(
        "waits for a live check",
        404,
        "not_found",
        path="/v1/activations/{check}",
        headers={"Prefer": "wait=1"},
    ),
    Attempt("deletes a live check", 404, "not_found", "DELETE", "/v1/activations/{check}"),
    Attempt("reads a live check as a job", 404, "not_found", path="/v1/jobs/{check}"),
    Attempt("reads a batch", 404, "not_found", path="/v1/batches/{batch}"),
    Attempt(
        "waits for a batch",
        404,
        "not_found",
        path="/v1/batches/{batch}",
        headers={"Prefer": "wait=1"},
    ),
    Attempt(
        "guesses a batch's tag",
        404,
        "not_found",
        path="/v1/batches/{batch}",
        headers={"If-None-Match": "*"},
    ),
    Attempt("reads what a batch found", 404, "not_found", path="/v1/batches/{batch}/summaries"),
    Attempt("cancels a batch", 404, "not_found", "POST", "/v1/batches/{batch}/cancel"),
    Attempt("deletes a batch", 404, "not_found", "DELETE", "/v1/batches/{batch}?with_jobs=true"),
    Attempt("reads a corpus", 404, "not_found", path="/v1/corpora/private"),
    Attempt("deletes a corpus", 404, "not_found", "DELETE", "/v1/corpora/private"),
    Attempt("reads vectors", 404, "not_found", path="/v1/vectors/{vectors}"),
    Attempt("deletes vectors", 404, "not_found", "DELETE", "/v1/vectors/{vectors}"),
    post(
        "runs over vectors",
        422,
        "vectors_not_found",
        "/v1/jobs",
        make_body(neurons={"vectors": "{vectors}"}),
    ),
    post(
        "runs over a corpus",
        422,
        "corpus_not_found",
        "/v1/jobs",
        make_body(corpus={"id": "private"}),
    ),
    post(
        "runs a batch over a corpus",
        422,
        "batch_refused",
        "/v1/batches",
        {"jobs": [make_body(), make_body(corpus={"id": "private"})]},
    ),
    post(
        "plans over a corpus",
        422,
        "corpus_not_found",
        "/v1/jobs?dry_run=true",
        make_body(corpus={"id": "private"}),
    ),
]
CURSORS = [
    Attempt("another's cursor of jobs", 400, "bad_cursor", path="/v1/jobs?cursor={jobs_cursor}"),
    Attempt(
        "another's cursor of batches", 400, "bad_cursor", path="/v1/batches?cursor={batches_cursor}"
    ),
    Attempt(
        "another's cursor of corpora", 400, "bad_cursor", path="/v1/corpora?cursor={corpora_cursor}"
    ),
    Attempt(
        "another's cursor of vectors", 400, "bad_cursor", path="/v1/vectors?cursor={vectors_cursor}"
    ),
    Attempt(
        "another's cursor of neurons",
        400,
        "bad_cursor",
        path="/v1/jobs/{own}/neurons?cursor={neurons_cursor}",
    ),
    Attempt(
        "an own cursor on another's job",
        404,
        "not_found",
        path="/v1/jobs/{job}/neurons?cursor={own_cursor}",
    ),
    Attempt(
        "a cursor of another secret", 400, "bad_cursor", path="/v1/jobs?cursor={forged_cursor}"
    ),
    Attempt("a cursor changed", 400, "bad_cursor", path="/v1/jobs?cursor=x{beta_cursor}"),
    Attempt(
        "a cursor without a signature",
        400,
        "bad_cursor",
        path="/v1/jobs?cursor=WyJqb2JzIiwiIixbMCwiIl1d",
    ),
]
KEYS = [
    Attempt("no key", 401, "unauthenticated", key=None),
    Attempt("no key, to submit", 401, "unauthenticated", "POST", "/v1/jobs", b"{}", JSON, key=None),
    Attempt("no key, a bad query", 401, "unauthenticated", path="/v1/models?x=1", key=None),
    Attempt("no key, dictionaries", 401, "unauthenticated", path="/v1/dictionaries", key=None),
    Attempt("no key, a dictionary", 401, "unauthenticated", path="/v1/dictionaries/a", key=None),
    Attempt("no key, metrics", 401, "unauthenticated", path="/metrics", key=None),
    Attempt("a key never made", 401, "unauthenticated", key="made_up"),
    Attempt("a revoked key", 401, "unauthenticated", key="revoked"),
    Attempt("a replaced key", 401, "unauthenticated", key="replaced"),
    Attempt("a replaced key that held on, revoked", 401, "unauthenticated", key="held_on"),
    Attempt("a key cut short", 401, "unauthenticated", key="short"),
    Attempt("a key in other case", 401, "unauthenticated", key="swapped"),
    Attempt("a key and more", 401, "unauthenticated", key="longer"),
    Attempt(
        "a pattern", 401, "unauthenticated", headers={"Authorization": "Bearer psk_*"}, key=None
    ),
    Attempt(
        "the hash of a key",
        401,
        "unauthenticated",
        headers={"Authorization": "Bearer {hash}"},
        key=None,
    ),
    Attempt(
        "the id of a key",
        401,
        "unauthenticated",
        headers={"Authorization": "Bearer {key_id}"},
        key=None,
    ),
    Attempt(
        "a key as password",
        401,
        "unauthenticated",
        headers={"Authorization": "Basic {basic}"},
        key=None,
    ),
    Attempt(
        "a key without scheme",
        401,
        "unauthenticated",
        headers={"Authorization": "{secret}"},
        key=None,
    ),
    Attempt(
        "a key in another header",
        401,
        "unauthenticated",
        headers={"X-Api-Key": "{secret}"},
        key=None,
    ),
    Attempt(
        "a key in a cookie", 401, "unauthenticated", headers={"Cookie": "key={secret}"}, key=None
    ),
    Attempt(
        "a key in the query", 401, "unauthenticated", path="/v1/jobs?api_key={secret}", key=None
    ),
    Attempt(
        "a token in the query",
        401,
        "unauthenticated",
        path="/v1/jobs?access_token={secret}",
        key=None,
    ),
    Attempt(
        "two keys in one header",
        401,
        "unauthenticated",
        headers={"Authorization": "Bearer x, Bearer {secret}"},
    ),
    Attempt(
        "a header of 32 KiB",
        401,
        "unauthenticated",
        headers={"Authorization": "Bearer " + "a" * 32768},
        key=None,
    ),
    Attempt(
        "a proxy's word", 401, "unauthenticated", headers={"X-Forwarded-For": "127.0.0.1"}, key=None
    ),
    Attempt("a proxy's user", 401, "unauthenticated", headers={"X-Remote-User": "acme"}, key=None),
]
SCOPES = [
    post("reader submits", 403, "missing_scope", "/v1/jobs", make_body(), key="read"),
    post(
        "reader submits a batch",
        403,
        "missing_scope",
        "/v1/batches",
        {"jobs": [make_body()]},
        key="read",
    ),
    post("reader plans", 403, "missing_scope", "/v1/jobs?dry_run=true", make_body(), key="read"),
    post("reader adds a corpus", 403, "missing_scope", "/v1/corpora", {"texts": ["a"]}, key="read"),
    Attempt("reader cancels", 403, "missing_scope", "POST", "/v1/jobs/{own}/cancel", key="read"),
    Attempt("reader deletes a job", 403, "missing_scope", "DELETE", "/v1/jobs/{own}", key="read"),
    post("reader adds vectors", 403, "missing_scope", "/v1/vectors", {"layer": 0}, key="read"),
    Attempt(
        "reader deletes vectors",
        403,
        "missing_scope",
        "DELETE",
        "/v1/vectors/{vectors}",
        key="read",
    ),
    Attempt(
        "reader deletes a corpus", 403, "missing_scope", "DELETE", "/v1/corpora/notes", key="read"
    ),
    post(
        "reader regroups",
        403,
        "missing_scope",
        "/v1/jobs/{own}/senses",
        {"same_at": 0.5},
        key="read",
    ),
    post(
        "reader checks a text",
        403,
        "missing_scope",
        "/v1/activations",
        CHECK | {"job": "{own}"},
        key="read",
    ),
    Attempt("reader sees metrics", 403, "missing_scope", path="/metrics", key="read"),
    Attempt("submitter sees metrics", 403, "missing_scope", path="/metrics", key="submit"),
    Attempt("submitter reads", 403, "missing_scope", path="/v1/jobs/{own}", key="submit"),
    Attempt(
        "submitter exports",
        403,
        "missing_scope",
        path="/v1/jobs/{own}/export?format=ndjson",
        key="submit",
    ),
    Attempt(
        "reader overrides the method",
        403,
        "missing_scope",
        "POST",
        "/v1/jobs/{own}/cancel",
        headers={"X-HTTP-Method-Override": "GET"},
        key="read",
    ),
]
TRICKS = [
    Attempt("a path upwards", 404, "not_found", path="/v1/corpora/..%2f..%2ftenants%2facme"),
    Attempt(
        "a path upwards in the docs", 404, "not_found", path="/docs/%2e%2e/%2e%2e/%2e%2e/etc/passwd"
    ),
    Attempt("a path upwards in a model", 404, "not_found", path="/v1/models/..%2f..%2fmodels.toml"),
    Attempt(
        "a path upwards in a dictionary",
        404,
        "not_found",
        path="/v1/dictionaries/..%2f..%2fmodels.toml",
    ),
    post(
        "a path for a dictionary",
        422,
        "invalid_request",
        "/v1/jobs",
        make_body(neurons={"dictionary": "../../models"}),
    ),
    Attempt(
        "a Redis key as corpus",
        404,
        "not_found",
        path="/v1/corpora/tenant%3Aacme%3Acorpus%3Aprivate",
    ),
    Attempt("a line end in an id", 404, "not_found", path="/v1/jobs/{job}%0a"),
    Attempt("a zero byte in an id", 404, "not_found", path="/v1/jobs/{job}%00"),
    Attempt("a pattern as id", 404, "not_found", path="/v1/jobs/job_*"),
    Attempt("two slashes", 404, "not_found", path="//v1//jobs/{job}"),
    Attempt("a slash at the end", 404, "not_found", path="/v1/jobs/{job}/"),
    Attempt(
        "a corpus name upwards",
        422,
        "invalid_request",
        "POST",
        "/v1/corpora?name=../acme",
        b"a\n",
        TEXT,
    ),
    Attempt(
        "a corpus name with a colon",
        422,
        "invalid_request",
        "POST",
        "/v1/corpora?name=a:b",
        b"a\n",
        TEXT,
    ),
    post(
        "a corpus id upwards",
        422,
        "invalid_request",
        "/v1/jobs",
        make_body(corpus={"id": "../../acme"}),
    ),
    Attempt(
        "SQL in sort", 422, "invalid_request", path="/v1/jobs/{own}/neurons?sort=max;DROP+TABLE+t"
    ),
    Attempt(
        "SQL in fields",
        422,
        "invalid_request",
        path="/v1/jobs/{own}/neurons?fields=read_text('/etc/passwd')",
    ),
    Attempt(
        "a path beside a job",
        422,
        "invalid_request",
        path="/v1/jobs/{own}/summary?beside=../../{job}",
    ),
    Attempt("SQL in a range", 422, "invalid_request", path="/v1/jobs/{own}/neurons?layer=0+OR+1=1"),
    Attempt(
        "SQL in a bound",
        422,
        "invalid_request",
        path="/v1/jobs/{own}/neurons?min_max=0)+UNION+SELECT+1",
    ),
    Attempt(
        "SQL in a status", 422, "invalid_request", path="/v1/jobs/{own}/neurons?status='+OR+''='"
    ),
    Attempt(
        "a header in a cursor", 400, "bad_cursor", path="/v1/jobs?cursor=a%0d%0aSet-Cookie:+a=b"
    ),
    Attempt(
        "a header in a filter",
        422,
        "invalid_request",
        path="/v1/jobs?status=a%0d%0aSet-Cookie:+a=b",
    ),
    post(
        "a line end in an idempotency key",
        400,
        "malformed_request",
        "/v1/jobs",
        make_body(),
        headers={"Idempotency-Key": "a\tb"},
    ),
    post("a tenant in the body", 422, "invalid_request", "/v1/jobs", make_body(tenant="acme")),
    post("a source in the body", 422, "invalid_request", "/v1/jobs", make_body(source_job="{job}")),
    Attempt("a tenant in the query", 422, "invalid_request", path="/v1/jobs?tenant=acme"),
    Attempt(
        "a body too long", 413, "too_large", "POST", "/v1/jobs", b"[" + b"1," * 40_000 + b"1]", JSON
    ),
    Attempt(
        "a body too deep",
        400,
        "malformed_request",
        "POST",
        "/v1/jobs",
        b"[" * 5000 + b"]" * 5000,
        JSON,
    ),
    Attempt(
        "a small body that is large unpacked",
        413,
        "too_large",
        "POST",
        "/v1/corpora?format=text",
        gzip.compress(b"a\n" * (2 << 20)),
        {"Content-Type": "application/gzip"},
    ),
    Attempt(
        "pickled bytes",
        415,
        "unsupported_media_type",
        "POST",
        "/v1/corpora",
        b"\x80\x04.",
        {"Content-Type": "x/y"},
    ),
]
ATTEMPTS = [*FOREIGN, *CURSORS, *KEYS, *SCOPES, *TRICKS]


class Names(dict[str, str]):
    """Fills the braces that it knows: JSON has others."""

    def fill(self, text: str) -> str:
        for name, value in self.items():
            text = text.replace(f"{{{name}}}", value)
        return text


@dataclass(frozen=True)
class Site:
    http: httpx.Client
    board: Board
    store: Store
    queue: redis.Redis
    secrets: Mapping[str, str]
    names: Names

    def send(self, attempt: Attempt, names: Names | None = None) -> httpx.Response:
        fill = (names or self.names).fill
        headers = {"Authorization": f"Bearer {self.secrets[attempt.key]}"} if attempt.key else {}
        headers |= {name: fill(value) for name, value in attempt.headers.items()}
        body = (
            None if attempt.body is None else fill(attempt.body.decode("latin-1")).encode("latin-1")
        )
        return self.http.request(attempt.method, fill(attempt.path), content=body, headers=headers)

    def state(self) -> Any:
        """All that an attempt could change."""
        tenants = ("acme", "beta", "default")
        jobs = [
            [*self.board.jobs.newest_first(tenant=t), *self.board.batches.list_page(tenant=t)]
            for t in tenants
        ]
        corpora = [self.board.registry.list_corpora(t) for t in tenants]
        vectors = [self.board.registry.list_vectors(t) for t in tenants]
        files = [
            self.store.names(f)
            for f in (
                *("results", "work", "corpora", "vectors", "tenants"),
                *("tenants/acme/corpora", "tenants/acme/vectors"),
            )
        ]
        tickets = sum(int(self.queue.llen(key)) for key in ticket_keys().values())
        return (
            jobs,
            corpora,
            vectors,
            files,
            tickets,
            self.board.jobs.list_active(),
            self.board.accounts.list_keys(),
        )


@pytest.fixture(scope="module")
def site(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    redis.Redis.from_url(redis_server).flushall()
    settings = make_settings(redis_server, tmp_path_factory.mktemp("site"))
    board, store = Board.connect(redis_server), Store(settings.store)
    board.registry.put_card(make_card())
    add_tenant_corpus(board, store, "acme", "private", MARK)
    add_tenant_corpus(board, store, "acme", "notes", MARK)
    add_tenant_corpus(board, store, "beta", "notes", "beta's own")
    names = add_jobs(board, store) | make_cursors(board)
    names["vectors"] = add_vectors(board, store, "acme", name=MARK).id
    secrets = make_keys(board)
    names |= {
        "secret": secrets["admin"],
        "hash": hashlib.sha256(secrets["admin"].encode()).hexdigest(),
        "key_id": board.accounts.list_keys()[0].id,
        "basic": base64.b64encode(f"beta:{secrets['admin']}".encode()).decode(),
    }
    with serving(create_app(settings)) as client:
        yield Site(client, board, store, redis.Redis.from_url(redis_server), secrets, Names(names))


def add_tenant_corpus(board: Board, store: Store, tenant: str, name: str, text: str) -> None:
    add_corpus(board, store, [f"{text} {i}" for i in range(30)], name)
    corpus = board.registry.get_corpus(name)
    assert corpus is not None
    store.write(Layout.documents(name, tenant), store.read(Layout.documents(name)))
    board.registry.add_corpus(corpus, tenant)
    board.registry.delete_corpus(name)
    store.delete(Layout.corpus(name))


def add_jobs(board: Board, store: Store) -> dict[str, str]:
    """Of acme a finished job, one that is queued, and a finished live check; of beta a finished
    job.
    """
    request = make_request(metadata={"project": MARK})
    names = {
        "job": board.jobs.open(request, tenant="acme").job,
        "open": board.jobs.open(request, tenant="acme", idempotency=("theirs", "d")).job,
        "own": board.jobs.open(make_request(), tenant="beta").job,
    }
    for name in ("job", "own"):
        write_result(store, names[name], layers=(0, 1))
        run_job(board, names[name])
    check = ActivationsRequest(names["job"], MODEL, MARK, ((0, 1),), 5)
    names["check"] = board.jobs.open(check, tenant="acme").job
    store.write(
        f"{Layout.result(names['check'])}/{ACTIVATIONS}",
        b'{"tokens": [], "neurons": [], "note": null}',
    )
    board.jobs.end(names["check"], "succeeded")
    names["batch"] = board.batches.open(
        [NewJob(0, request, 0)], {}, atomic=True, full={}, metadata={"project": MARK}, tenant="acme"
    ).batch
    return names


def make_cursors(board: Board) -> dict[str, str]:
    cursors = Cursors(board.registry.get_secret())
    job = next(board.jobs.newest_first(tenant="beta")).id
    return {
        "jobs_cursor": cursors.seal("jobs", {}, [2e9, "job_z"], "acme"),
        "batches_cursor": cursors.seal("batches", {}, [2e9, "bat_z"], "acme"),
        "vectors_cursor": cursors.seal("vectors", {}, 0, "acme"),
        "corpora_cursor": cursors.seal("corpora", {}, 0, "acme"),
        "neurons_cursor": cursors.seal(job, {}, 1, "acme"),
        "own_cursor": cursors.seal(job, {}, 1, "beta"),
        "beta_cursor": cursors.seal("jobs", {}, [2e9, "job_z"], "beta"),
        "forged_cursor": Cursors("guessed").seal("jobs", {}, [2e9, "job_z"], "beta"),
    }


def make_keys(board: Board) -> dict[str, str]:
    accounts = board.accounts
    only: tuple[tuple[Scope, ...], ...] = (("admin",), ("read",), ("submit",))
    secrets = {scopes[0]: accounts.create_key("beta", scopes)[1] for scopes in only}
    accounts.create_key("acme", ("admin",))
    keys = {}
    for name in ("revoked", "replaced", "held_on"):
        keys[name], secrets[name] = accounts.create_key("beta", ("admin",))
    accounts.rotate_key(keys["replaced"].id)
    accounts.rotate_key(keys["held_on"].id, keep_s=3600)
    accounts.revoke_key(keys["held_on"].id)
    accounts.revoke_key(keys["revoked"].id)
    admin = secrets["admin"]
    made_up = {
        "made_up": "psk_" + "a" * 43,
        "short": admin[:-1],
        "swapped": admin.swapcase(),
        "longer": f"{admin}a",
    }
    return secrets | made_up


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda a: a.name)
def test_no_attempt_succeeds(attempt: Attempt, site: Site) -> None:
    before = site.state()

    answer = site.send(attempt)

    assert (answer.status_code, answer.json()["code"]) == (attempt.status, attempt.code), (
        answer.text
    )
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert MARK not in answer.text
    assert "Set-Cookie" not in answer.headers
    assert site.state() == before


def test_there_are_at_least_forty_five() -> None:
    assert len({a.name for a in ATTEMPTS}) == len(ATTEMPTS) >= 45


@pytest.mark.parametrize("attempt", [a for a in FOREIGN if a.status == 404], ids=lambda a: a.name)
def test_anothers_id_answers_exactly_as_an_unknown_one(attempt: Attempt, site: Site) -> None:
    unknown = Names(
        job="job_" + "0" * 28,
        open="job_" + "1" * 28,
        check="act_" + "0" * 28,
        batch="bat_" + "0" * 28,
        vectors="vec_" + "0" * 24,
        own=site.names["own"],
    )
    nobody = Attempt(**{**vars(attempt), "path": attempt.path.replace("private", "nowhere")})

    answers = [site.send(attempt), site.send(nobody, unknown)]

    for answer, names in zip(answers, (site.names, unknown), strict=True):
        assert answer.status_code == 404, names
    assert comparable(answers[0], site.names) == comparable(answers[1], unknown)


def comparable(answer: httpx.Response, names: Mapping[str, str]) -> tuple[Any, list[str]]:
    """The answer without what differs between any two: the ids that were asked for, and the
    request's.
    """
    text = answer.text.replace("private", "nowhere").replace(answer.headers["X-Request-Id"], "")
    for name in ("job", "open", "check", "batch", "vectors"):
        text = text.replace(names[name], name)
    return json.loads(text), sorted(h for h in answer.headers if h != "content-length")


ID_PARAMETERS = ("job_id", "check_id", "batch_id", "corpus_id", "vectors_id")


def test_every_operation_on_a_tenants_ids_is_attempted(site: Site) -> None:
    document = site.http.get("/openapi.json").json()
    wanted = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item
        if method in METHODS and any(f"{{{p}}}" in path for p in ID_PARAMETERS)
    }

    done = {(a.method, a.path.partition("?")[0]) for a in FOREIGN}

    filled = {("job_id", "job"), ("job_id", "open"), ("check_id", "check"), ("batch_id", "batch")}
    filled |= {("corpus_id", "private"), ("vectors_id", "vectors")}
    for method, path in wanted:
        ways = {path.replace(f"{{{p}}}", v if v == "private" else f"{{{v}}}") for p, v in filled}
        ways = {w.replace("{layer}", "0").replace("{neuron}", "1") for w in ways}
        assert {(method, w) for w in ways} & done, (method, path)


def test_every_operation_but_the_open_ones_asks_for_a_key(site: Site) -> None:
    document = site.http.get("/openapi.json").json()
    values = {
        "{job_id}": site.names["job"],
        "{check_id}": site.names["check"],
        "{corpus_id}": "private",
        "{vectors_id}": site.names["vectors"],
    }
    values |= {
        "{batch_id}": site.names["batch"],
        "{model_id}": MODEL,
        "{dictionary_id}": "mlp-1",
        "{layer}": "0",
        "{neuron}": "1",
    }
    open_paths = set()

    for path, item in document["paths"].items():
        for method in METHODS & set(item):
            filled = path
            for name, value in values.items():
                filled = filled.replace(name, value)
            answer = site.http.request(method, filled)
            if answer.status_code == 401:
                assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
                assert item[method].get("security", document["security"]) == [{"key": []}]
            else:
                open_paths.add(path)
                assert item[method]["security"] == []

    assert open_paths == {"/livez", "/readyz"}


def test_what_is_wrong_with_a_key_is_not_told(site: Site) -> None:
    wrong = ("made_up", "revoked", "replaced", "short")
    answers = [site.send(Attempt("", 401, "", key=key)) for key in wrong]

    assert len({a.text.replace(a.headers["X-Request-Id"], "") for a in answers}) == 1
    assert len({a.headers["WWW-Authenticate"] for a in answers}) == 1


def test_lists_have_nothing_of_another_tenants(site: Site) -> None:
    headers = {"X-Tenant": "acme", "X-Polyseme-Tenant": "acme"}
    jobs = site.send(Attempt("", 200, "", headers=headers))
    corpora = site.send(Attempt("", 200, "", path="/v1/corpora", headers=headers))
    batches = site.send(Attempt("", 200, "", path="/v1/batches", headers=headers))
    theirs = site.send(Attempt("", 200, "", path="/v1/jobs?batch={batch}"))

    assert [j["id"] for j in jobs.json()["data"]] == [site.names["own"]]
    assert [c["id"] for c in corpora.json()["data"]] == ["notes"]
    assert batches.json()["data"] == theirs.json()["data"] == []
    assert MARK not in jobs.text + corpora.text


def test_a_token_that_is_sql_finds_nothing(site: Site) -> None:
    answer = site.send(Attempt("", 200, "", path="/v1/jobs/{own}/neurons?token='+OR+1=1--"))

    assert (answer.status_code, answer.json()["total"]) == (200, 0)


def test_a_request_id_that_is_a_header_is_not_repeated(site: Site) -> None:
    answer = site.send(Attempt("", 200, "", headers={"X-Request-Id": "a; Set-Cookie: b=c"}))

    assert "Set-Cookie" not in answer.headers["X-Request-Id"]


def test_another_tenants_idempotency_key_makes_a_job_of_ones_own(site: Site) -> None:
    answer = site.send(
        post("", 202, "", "/v1/jobs", make_body(), headers={"Idempotency-Key": "theirs"})
    )

    assert answer.status_code == 202
    assert answer.json()["id"] != site.names["open"]
    assert "Idempotency-Replayed" not in answer.headers
    site.board.jobs.end(answer.json()["id"], "cancelled")
    assert (
        site.send(Attempt("", 204, "", "DELETE", f"/v1/jobs/{answer.json()['id']}")).status_code
        == 204
    )


def test_a_name_that_another_tenant_uses_is_free(site: Site) -> None:
    added = site.send(
        Attempt("", 201, "", "POST", "/v1/corpora?name=private", b"beta's text\n", TEXT)
    )
    deleted = site.send(Attempt("", 204, "", "DELETE", "/v1/corpora/private"))

    assert (added.status_code, deleted.status_code) == (201, 204)
    assert site.board.registry.get_corpus("private", "acme") is not None
    assert site.store.exists(Layout.documents("private", "acme"))
