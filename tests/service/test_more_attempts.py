"""More attempts on two tenants' service as it is shipped, gunicorn included: at the way a message
is framed, at tags, cursors and keys of others, with bodies that are not what they seem.

Each is refused, or gives what the caller has anyhow. No answer is a 5xx but 503 and 507, none has
anything of the other tenant's in it, or a path of the server's.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import socket
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Store
from polyseme.service.http.cursors import Cursors
from tests.factories import make_body, make_card
from tests.service.conftest import make_settings
from tests.service.http.test_slow_clients import running_api
from tests.service.test_security import MARK, Names, add_jobs, add_tenant_corpus, make_keys

JSON = "application/json"
TEXT = "text/plain"
GZIP = "application/gzip"
HUGE = "9" * 401


@dataclass(frozen=True)
class Attempt:
    name: str
    statuses: tuple[int, ...]
    message: bytes  # as it is sent; {names} are filled in
    is_alone: bool = True  # one answer, whatever stands behind the first request


def raw(name: str, status: int | tuple[int, ...], *lines: str, body: bytes = b"") -> Attempt:
    statuses = (status,) if isinstance(status, int) else status
    return Attempt(name, statuses, "\r\n".join([*lines, "", ""]).encode("latin-1") + body)


def ask(
    name: str,
    status: int | tuple[int, ...],
    path: str,
    *fields: str,
    method: str = "GET",
    key: str | None = "admin",
    body: bytes | None = None,
) -> Attempt:
    own = [] if key is None else [f"Authorization: Bearer {{{key}}}"]
    length = [] if body is None else [f"Content-Length: {len(body)}"]
    lines = (f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *own, *fields, *length)
    return raw(name, status, *lines, "Connection: close", body=body or b"")


def upload(
    name: str,
    status: int | tuple[int, ...],
    body: bytes,
    kind: str = TEXT,
    *fields: str,
    query: str = "",
) -> Attempt:
    path = f"/v1/corpora{query}"
    return ask(name, status, path, f"Content-Type: {kind}", *fields, method="POST", body=body)


def job(
    name: str, status: int | tuple[int, ...], text: str | None = None, **changes: Any
) -> Attempt:
    body = (text or json.dumps(make_body(**changes))).encode()
    fields = (f"Content-Type: {JSON}",)
    return ask(name, status, "/v1/jobs", *fields, method="POST", body=body)


def parquet_of_nulls(rows: int) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"text": pa.nulls(rows, pa.string())}), file)
    return file.getvalue()


AUTH = "Authorization: Bearer {admin}"
HOST = "Host: 127.0.0.1"
UPLOAD = ("POST /v1/corpora HTTP/1.1", HOST, AUTH, f"Content-Type: {TEXT}")
NEXT = b"GET /v1/jobs/{job} HTTP/1.1\r\nHost: x\r\n\r\n"  # what is to be taken for a second request

FRAMING = [
    raw(
        "a length and chunks",
        400,
        "POST /v1/jobs HTTP/1.1",
        HOST,
        AUTH,
        f"Content-Type: {JSON}",
        "Content-Length: 4",
        "Transfer-Encoding: chunked",
        body=b"0\r\n\r\n" + NEXT,
    ),
    raw(
        "chunks under another name",
        501,  # RFC 9112; gunicorn's own answer
        "POST /v1/jobs HTTP/1.1",
        HOST,
        AUTH,
        "Transfer-Encoding: xchunked",
        body=b"0\r\n\r\n" + NEXT,
    ),
    raw(
        "chunks that are not the last coding",
        400,
        "POST /v1/jobs HTTP/1.1",
        HOST,
        AUTH,
        "Transfer-Encoding: chunked, identity",
        body=b"0\r\n\r\n" + NEXT,
    ),
    raw(
        "two lengths",
        400,
        "POST /v1/jobs HTTP/1.1",
        HOST,
        AUTH,
        "Content-Length: 0",
        f"Content-Length: {len(NEXT)}",
        body=NEXT,
    ),
    raw("a length with a sign", 400, "POST /v1/jobs HTTP/1.1", HOST, AUTH, "Content-Length: +0"),
    raw("a negative length", 400, "POST /v1/jobs HTTP/1.1", HOST, AUTH, "Content-Length: -1"),
    raw(
        "a length of 401 digits",
        (400, 413),
        "POST /v1/jobs HTTP/1.1",
        HOST,
        AUTH,
        f"Content-Type: {JSON}",
        f"Content-Length: {HUGE}",
    ),
    raw("a field over two lines", 400, "GET /v1/jobs HTTP/1.1", HOST, "X-A: b", f" {AUTH}"),
    raw(
        "a space before a colon",
        400,
        "GET /v1/jobs HTTP/1.1",
        HOST,
        "Authorization : Bearer {admin}",
    ),
    raw("a zero byte in a field", 400, "GET /v1/jobs HTTP/1.1", HOST, AUTH, "X-A: b\0c"),
    raw("a line end alone in a field", 400, "GET /v1/jobs HTTP/1.1", HOST, "X-A: b\nX-C: d"),
    raw("a version of no HTTP", (400, 505), "GET /v1/jobs HTTP/9.9", HOST, AUTH),
    raw("a method in small letters", (400, 405, 501), "get /v1/jobs HTTP/1.1", HOST, AUTH),
    raw(
        "a line before the request", 400, "PROXY TCP4 10.0.0.1 10.0.0.2 1 2", "GET / HTTP/1.1", HOST
    ),
    raw("a very long address", (400, 414), f"GET /v1/jobs?a={'b' * 9000} HTTP/1.1", HOST, AUTH),
    raw(
        "very many fields",
        (400, 431),
        "GET /v1/jobs HTTP/1.1",
        HOST,
        *(f"X-{i}: a" for i in range(200)),
    ),
    raw("a very long field", (400, 431), "GET /v1/jobs HTTP/1.1", HOST, f"X-A: {'b' * 9000}"),
    raw(
        "a chunk of 401 digits",
        400,
        *UPLOAD,
        "Transfer-Encoding: chunked",
        body=HUGE.encode() + b"\r\n" + NEXT,
    ),
    raw(
        "a key behind the last chunk",
        401,
        "POST /v1/corpora HTTP/1.1",
        HOST,
        f"Content-Type: {TEXT}",
        "Transfer-Encoding: chunked",
        body=b"0\r\nAuthorization: Bearer {admin}\r\n\r\n",
    ),
    raw(
        "a request inside a refused body",
        401,
        "POST /v1/jobs HTTP/1.1",
        HOST,
        "Content-Length: 100000",
        body=NEXT * 10,
    ),
    raw(
        "a body that ends early",
        400,
        *UPLOAD,
        "Content-Length: 1000",
        body=b"a line\n",
    ),
    raw(
        "a long body that ends early",
        400,
        *UPLOAD,
        "Content-Length: 200000",
        body=b"a line\nand another\n" * 4000,
    ),
    raw(
        "chunks that end early",
        400,
        *UPLOAD,
        "Transfer-Encoding: chunked",
        body=b"5\r\na bit\r\n",
    ),
    ask("a key in a field with an underscore", 401, "/v1/jobs", "AUTHORIZATION_: x", key=None),
    ask(
        "another address in a field",
        200,
        "/v1/models",
        "X-Original-URL: /metrics",
        "X-Rewrite-URL: /metrics",
        key="read",
    ),
    ask("a prefix of another host", 200, "/v1/jobs", "X-Forwarded-Prefix: //evil.example"),
    ask("a script name of another host", 200, "/v1/jobs", "SCRIPT_NAME: http://evil.example"),
    ask(
        "a change to HTTP/2", 401, "/v1/jobs", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk", key=None
    ),
    ask(
        "what came is to be sent back", (403, 404, 405), "/v1/jobs", "X-A: echo-me", method="TRACE"
    ),
    raw(
        "another host as address",
        (200, 400, 404),
        "GET http://evil.example/v1/jobs HTTP/1.1",
        HOST,
        AUTH,
        "Connection: close",
    ),
]
OTHERS = [
    ask("another's tag", 404, "/v1/jobs/{job}", 'If-None-Match: {job_tag}, W/"1"'),
    ask("another's tag for an own job", 200, "/v1/jobs/{own}", 'If-None-Match: W/"{job}-1"'),
    ask("another's result tag", 404, "/v1/jobs/{job}/summary", 'If-None-Match: W/"0.1.0-{job}"'),
    ask("another's events from the middle", 404, "/v1/jobs/{job}/events", "Last-Event-ID: 1"),
    ask(
        "a part of another's export", 404, "/v1/jobs/{job}/export?format=ndjson", "Range: bytes=0-9"
    ),
    ask("another's corpus as filter", 200, "/v1/jobs?corpus=private"),
    ask("another's metadata as filter", 200, "/v1/jobs?metadata=project%3Dacme-onl"),
    ask("another's job as batch", 200, "/v1/jobs?batch={job}"),
    ask("the same id in capitals", 404, "/v1/jobs/{capitals}"),
    ask("the same id in wide digits", 404, "/v1/jobs/job_%EF%BC%90{short}"),
    ask("a cursor of another list", 400, "/v1/corpora?cursor={jobs_cursor}"),
    ask("a cursor of another filter", 400, "/v1/jobs?status=failed&cursor={jobs_cursor}"),
    ask("a cursor with a place that is none", 400, "/v1/jobs?cursor={odd_cursor}"),
    ask("a cursor twice", 422, "/v1/jobs?cursor={jobs_cursor}&cursor={jobs_cursor}"),
    ask("a very long cursor", 400, f"/v1/jobs?cursor={'a' * 3000}"),
    ask("reader asks for metrics in escapes", 403, "/%6detrics", key="read"),
    ask("reader asks for metrics' head", 403, "/metrics", method="HEAD", key="read"),
    ask("reader asks for metrics from above", (403, 404), "/v1/../metrics", key="read"),
    ask("reader deletes by a query", 422, "/v1/jobs/{own}?_method=DELETE", key="read"),
    ask("submitter reads the list", 403, "/v1/jobs", key="submit"),
    ask(
        "a reader's key made an admin's",
        403,
        "/metrics",
        "X-Scope: admin",
        "X-Tenant: acme",
        key="read",
    ),
    ask(
        "a file of the result by its path",
        422,
        "/v1/jobs/{own}/export?format=parquet&file=../../{job}/neurons",
    ),
    ask("a neuron of 401 digits", 404, f"/v1/jobs/{{own}}/neurons/0/{HUGE}"),
    ask("a page of 401 digits", 422, f"/v1/jobs?limit={HUGE}"),
    ask("a bound of 401 digits", 422, f"/v1/jobs/{{own}}/neurons?min_max={HUGE}"),
    ask("a wait of 401 digits", 400, "/v1/jobs/{own}", f"Prefer: wait={HUGE}"),
    ask("backslashes upwards", 404, "/docs/..%5c..%5c..%5cetc%5cpasswd"),
    ask(
        "a key of another batch",
        422,
        "/v1/batches",
        f"Content-Type: {JSON}",
        "Idempotency-Key: theirs",
        method="POST",
        body=b'{"jobs": []}',
    ),
]
BODIES = [
    job(
        "a whole number of 401 digits",
        422,
        json.dumps(make_body(senses={"alpha": 7})).replace("7", HUGE),
    ),
    job(
        "a number of 5,000 digits",
        400,
        json.dumps(make_body(deadline_s=7)).replace("7", "9" * 5000),
    ),
    job("a number too large for a float", 400, '{"senses": {"same_at": 1e999}}'),
    job("a time of 18 digits", 422, deadline_s=10**18),
    job("half of a surrogate pair", 400, '{"corpus": {"texts": ["\\ud800"]}}'),
    job("neurons that no layer has", 422, neurons={"indices": list(range(0, 60_000, 2))[:9000]}),
    job("an address with a password", 422, webhook={"url": "https://a:b@127.0.0.1/x"}),
    ask(
        "a batch of very many lists",
        400,
        "/v1/batches",
        f"Content-Type: {JSON}",
        method="POST",
        body=b"[" + b"[]," * 110_000 + b"[]]",
    ),
    job("a body of list ends", 400, "]" * 60_000),
    job("very many empty texts", (413, 422), '{"texts":[' + '"",' * 19_000 + '""]}'),
    ask(
        "a batch of line ends",
        413,
        "/v1/batches",
        "Content-Type: application/x-ndjson",
        method="POST",
        body=b"\n" * 900_000,
    ),
    ask(
        "a batch of next to nothing",
        422,
        "/v1/batches",
        f"Content-Type: {JSON}",
        method="POST",
        body=b'{"jobs":[' + b"{}," * 50_000 + b"{}]}",
    ),
    upload("gzip in gzip", 415, gzip.compress(gzip.compress(b"a\n")), GZIP),
    upload(
        "gzip in gzip in gzip",
        415,
        gzip.compress(gzip.compress(gzip.compress(b"a\n"))),
        GZIP,
        "Content-Encoding: gzip",
    ),
    upload(
        "a bomb in a coding",
        (413, 415),
        gzip.compress(b"\0" * (4 << 20)),
        TEXT,
        "Content-Encoding: gzip",
    ),
    upload("gzip members of nothing", 413, gzip.compress(b"") * 3000, GZIP, query="?format=text"),
    upload(
        "line ends without number",
        (413, 422),
        gzip.compress(b"\n" * 900_000),
        GZIP,
        query="?format=text",
    ),
    upload(
        "zstd of nothing but zeros",
        (413, 415),
        pa.compress(b"\0" * (4 << 20), "zstd", asbytes=True),
        "application/zstd",
    ),
    upload("deflate", 415, zlib.compress(b"a\n"), TEXT, "Content-Encoding: deflate"),
    upload("a zip archive", 415, b"PK\x03\x04" + b"\0" * 100, "application/octet-stream"),
    upload(
        "Parquet with a long end",
        422,
        b"PAR1" + b"\xff" * 100 + b"\xff\xff\xff\x7fPAR1",
        "application/octet-stream",
    ),
    upload(
        "Parquet of rows without text",
        (413, 422),
        parquet_of_nulls(30_000),
        "application/octet-stream",
        query="?on_bad_line=skip",
    ),
    upload("text in UTF-7", 415, b"+AGE-\n", "text/plain; charset=utf-7"),
    upload("UTF-16 without a mark", 415, "a\n".encode("utf-16-le"), TEXT),
    upload("lines of JSON that are deep", (400, 422), b"[" * 20_000 + b"\n", "application/jsonl"),
    upload(
        "a quote without an end",
        (413, 422),
        b'text\n"' + b"a," * 400_000,
        "text/csv",
        query="?field=text",
    ),
    upload("a file name upwards", 422, b"\n", TEXT, query="?filename=../../../etc/x.txt"),
    upload("a type with a line end", (400, 415), b"a", "text/plain\rX-A: b"),
]
ATTEMPTS = [*FRAMING, *OTHERS, *BODIES]


@dataclass(frozen=True)
class Site:
    port: int
    folder: Path
    board: Board
    names: Names
    answers: list[str] = field(default_factory=list)

    def send(self, message: bytes) -> bytes:
        """All that comes back until the service closes. A client that does not ask for that has
        closed its side.
        """
        filled = self.names.fill(message.decode("latin-1")).encode("latin-1")
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as sock:
            try:
                sock.sendall(filled)
                if b"Connection: close" not in filled:
                    sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # refused half way
            answer = b""
            try:
                while piece := sock.recv(1 << 16):
                    answer += piece
            except ConnectionResetError:
                pass
            return answer

    def state(self) -> Any:
        tenants = ("acme", "beta", "default")
        jobs = [list(self.board.jobs.newest_first(tenant=t)) for t in tenants]
        corpora = [self.board.registry.list_corpora(t) for t in tenants]
        return jobs, corpora, self.board.accounts.list_keys()


@pytest.fixture(scope="module")
def site(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    redis.Redis.from_url(redis_server).flushall()
    folder, board = tmp_path_factory.mktemp("attempts"), Board.connect(redis_server)
    settings = replace(make_settings(redis_server, folder), max_documents=20_000)
    store = Store(settings.store)
    board.registry.put_card(make_card())
    add_tenant_corpus(board, store, "acme", "private", MARK)
    add_tenant_corpus(board, store, "beta", "notes", "beta's own")
    names = add_jobs(board, store)
    with running_api(settings, folder) as port:
        yield Site(port, folder, board, Names(names | make_names(board, names)))


def make_names(board: Board, names: Mapping[str, str]) -> dict[str, str]:
    secrets, cursors = make_keys(board), Cursors(board.registry.get_secret())
    job = names["job"]
    return {name: secrets[name] for name in ("admin", "read", "submit")} | {
        "job_tag": f'W/"{job}-1"',
        "capitals": job.upper(),
        "short": job[5:],
        "jobs_cursor": cursors.seal("jobs", {}, [2e9, "job_z"], "beta"),
        "odd_cursor": cursors.seal("jobs", {}, [2e9, "job_z"], "other"),
    }


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda a: a.name)
def test_no_attempt_succeeds(attempt: Attempt, site: Site) -> None:
    before = site.state()

    answer = site.send(attempt.message)

    statuses = [int(s) for s in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)]
    assert len(statuses) == 1, answer[:600]
    assert statuses[0] in attempt.statuses, answer[:600]
    assert MARK.encode() not in answer
    assert str(site.folder).encode() not in answer
    assert b"evil.example" not in answer
    assert b"echo-me" not in answer
    assert b"Traceback" not in answer
    assert site.state() == before


def test_there_are_at_least_forty() -> None:
    assert len({a.name for a in ATTEMPTS}) == len(ATTEMPTS) >= 40
