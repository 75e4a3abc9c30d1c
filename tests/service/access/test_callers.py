from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from polyseme.contract.board.board import Board
from polyseme.contract.board.exposure import Exposed, check_exposure, is_loopback
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.records.job import Job
from polyseme.contract.records.tenants import Quotas, Tenant
from polyseme.contract.settings import Settings
from polyseme.service.access.callers import read_bearer
from polyseme.service.app import create_app
from polyseme.service.context import KEY
from tests.factories import (
    add_corpus,
    make_body,
    make_card,
    make_request,
    open_job,
    run_job,
    write_result,
)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def acme(board: Board, store: Store, app: Flask) -> dict[str, str]:
    """The headers of the tenant acme, which has the corpus "notes" too."""
    corpus = board.registry.get_corpus("notes")
    assert corpus is not None
    board.registry.add_corpus(corpus, "acme")
    store.write(Layout.documents("notes", "acme"), store.read(Layout.documents("notes")))
    return bearer(board.accounts.create_key("acme", ("read", "submit"))[1])


def limit(board: Board, **quotas: int) -> None:
    board.accounts.put_tenant(Tenant("acme", **quotas))


def submit(http: FlaskClient, headers: Mapping[str, str]) -> TestResponse:
    return http.post("/v1/jobs", json=make_body(), headers=headers)


def code_of(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


# Without keys


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost:8000"},
        {"Host": "127.0.0.1"},
        {"Host": "[::1]:8000", "Origin": "http://localhost:8000"},
        {"Host": "127.8.9.1:80", "Authorization": "Bearer whatever"},
    ],
)
def test_without_keys_this_machine_is_served(http: FlaskClient, headers: dict[str, str]) -> None:
    assert http.get("/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "peer", ["192.0.2.7", "10.0.0.1", "::ffff:192.0.2.7", "2001:db8::1", "169.254.1.1"]
)
def test_without_keys_another_machine_is_not(http: FlaskClient, peer: str) -> None:
    answer = http.get("/v1/models", environ_base={"REMOTE_ADDR": peer})

    assert code_of(answer) == (403, "not_local")
    assert http.get("/livez", environ_base={"REMOTE_ADDR": peer}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost.evil.example:8000"},
        {"Host": "localhost@evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[broken"},
    ],
)
def test_without_keys_a_page_of_another_site_is_not(
    http: FlaskClient, headers: dict[str, str]
) -> None:
    answer = http.post("/v1/corpora", data=b"text\n", content_type="text/plain", headers=headers)

    assert code_of(answer) == (403, "not_local")


def test_a_proxy_that_authenticates_may_ask_for_anyone(settings: Settings, board: Board) -> None:
    http = create_app(replace(settings, keyless="any")).test_client()
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}

    open_answer = http.get(
        "/v1/models", environ_base=elsewhere, headers={"Host": "polyseme.example"}
    )
    board.accounts.create_key("acme", ("read",))

    assert open_answer.status_code == 200
    assert http.get("/v1/models", environ_base=elsewhere).status_code == 401


def test_the_first_key_closes_the_service(http: FlaskClient, board: Board) -> None:
    before = http.get("/v1/models").status_code

    secret = board.accounts.create_key("default", ("read",))[1]

    assert (before, http.get("/v1/models").status_code) == (200, 401)
    assert http.get("/v1/models", headers=bearer(secret)).status_code == 200
    assert http.get("/v1/corpora", headers=bearer(secret)).get_json()["data"][0]["id"] == "notes"


def test_probes_and_documentation_stay_open(http: FlaskClient, key: str) -> None:
    paths = ("/livez", "/readyz", "/openapi.json", "/docs", "/docs/swagger-ui.css")

    assert [http.get(path).status_code for path in paths] == [200] * 5
    assert http.get("/metrics").status_code == 401
    assert http.get("/metrics", headers=bearer(key)).status_code == 200


# Refusals


def test_a_refusal_says_how_to_authenticate(
    http: FlaskClient, key: str, acme: dict[str, str]
) -> None:
    none, wrong = http.get("/v1/jobs"), http.get("/v1/jobs", headers=bearer("psk_no"))
    less = http.get("/metrics", headers=acme)

    assert none.headers["WWW-Authenticate"] == 'Bearer realm="polyseme"'
    assert wrong.headers["WWW-Authenticate"] == 'Bearer realm="polyseme", error="invalid_token"'
    assert (
        less.headers["WWW-Authenticate"]
        == 'Bearer realm="polyseme", error="insufficient_scope", scope="admin"'
    )
    assert (
        less.get_json()["detail"]
        == "this needs a key with the scope admin; this key has read, submit"
    )


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer a", "a"),
        ("bearer  a ", "a"),
        ("Basic a", None),
        ("a", None),
        ("", None),
        (None, None),
    ],
)
def test_the_bearer_scheme_is_read(header: str | None, token: str | None) -> None:
    assert read_bearer(header) == token


# Quotas


def test_every_answer_says_how_many_requests_are_left(
    http: FlaskClient, board: Board, acme: dict[str, str]
) -> None:
    limit(board, requests_per_minute=50)
    answers = [http.get("/v1/models", headers=acme) for _ in range(3)]

    left = [int(a.headers["RateLimit"].split(";")[1].removeprefix("r=")) for a in answers]

    assert all(a.headers["RateLimit-Policy"] == '"requests";q=50;w=60' for a in answers)
    assert left in ([49, 48, 47], [49, 49, 48], [49, 48, 49])  # a minute may begin between them
    assert 1 <= int(answers[0].headers["RateLimit"].partition("t=")[2]) <= 60


def test_more_requests_than_a_minute_has_are_refused(
    http: FlaskClient, board: Board, acme: dict[str, str]
) -> None:
    limit(board, requests_per_minute=3)
    other = bearer(board.accounts.create_key("beta", ("read",))[1])

    answers = [http.get("/v1/models", headers=acme) for _ in range(8)]

    refused = answers[-1]
    assert code_of(refused) == (429, "too_many_requests")
    assert [a.status_code for a in answers].count(200) in (3, 6)
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["RateLimit"].startswith('"requests";r=0;')
    assert http.get("/v1/models", headers=other).status_code == 200


def test_more_jobs_than_a_tenant_may_have_are_refused(
    http: FlaskClient, board: Board, acme: dict[str, str]
) -> None:
    limit(board, active_jobs=1)
    first = submit(http, acme)

    refused = submit(http, acme)

    assert first.status_code == 202
    assert code_of(refused) == (429, "quota_exceeded")
    assert refused.headers["Retry-After"] == "30"
    http.post(f"/v1/jobs/{first.get_json()['id']}/cancel", headers=acme)
    assert submit(http, acme).status_code == 202


def test_more_tokens_than_a_tenant_may_queue_are_refused(
    http: FlaskClient, board: Board, acme: dict[str, str]
) -> None:
    tokens = http.post("/v1/jobs?dry_run=true", json=make_body(), headers=acme).get_json()["tokens"]
    limit(board, queued_tokens=tokens + 1)

    answers = [submit(http, acme) for _ in range(2)]

    assert [a.status_code for a in answers] == [202, 429]
    assert answers[1].get_json()["code"] == "quota_exceeded"


def test_more_bytes_than_a_tenant_may_store_are_refused(
    http: FlaskClient, board: Board, store: Store, acme: dict[str, str]
) -> None:
    limit(board, stored_bytes=1500)
    small = http.post("/v1/corpora", json={"name": "small", "texts": ["a"]}, headers=acme)
    texts = [f"{i} {i * 7919 % 1009} {i * 104729 % 4001}" for i in range(1000)]

    refused = http.post("/v1/corpora", json={"name": "large", "texts": texts}, headers=acme)

    assert small.status_code == 201
    assert code_of(refused) == (429, "quota_exceeded")
    assert board.registry.get_corpus("large", "acme") is None
    assert store.names("tenants/acme/corpora") == ["notes", "small"]
    assert board.accounts.stored_bytes("acme") == store.size(Layout.documents("small", "acme"))


def test_a_tenant_that_is_full_runs_nothing_until_it_deletes(
    http: FlaskClient, board: Board, acme: dict[str, str]
) -> None:
    http.post("/v1/corpora", json={"name": "small", "texts": ["a"]}, headers=acme)
    limit(board, stored_bytes=1)

    full = submit(http, acme)
    http.delete("/v1/corpora/small", headers=acme)

    assert code_of(full) == (429, "quota_exceeded")
    assert submit(http, acme).status_code == 202


def test_without_keys_there_are_no_quotas(http: FlaskClient, app: Flask) -> None:
    here = app.extensions[KEY]
    app.extensions[KEY] = replace(
        here, settings=replace(here.settings, tenant_active_jobs=1, tenant_stored_bytes=1)
    )

    answers = [submit(http, {}) for _ in range(2)]

    assert [a.status_code for a in answers] == [202, 202]
    assert "RateLimit" not in answers[0].headers


# Retention


def expire(board: Board, store: Store, tenant: str = "default") -> Job:
    job = board.jobs.open(make_request(), tenant=tenant).job
    write_result(store, job, layers=(0,))
    board.jobs.end(job, "succeeded", keep_s=0.001)
    time.sleep(0.01)
    found = board.jobs.get(job)
    assert found is not None
    return found


def test_an_expired_job_is_gone_before_and_after_it_is_deleted(
    http: FlaskClient, board: Board, store: Store
) -> None:
    job = expire(board, store)
    paths = [f"/v1/jobs/{job.id}", f"/v1/jobs/{job.id}/summary", f"/v1/jobs/{job.id}/neurons"]

    before = [code_of(http.get(p)) for p in paths]
    board.jobs.delete_record(job.id, has_expired=True)
    after = [code_of(http.get(p)) for p in paths]

    assert before == after == [(410, "gone")] * 3
    assert http.get("/v1/jobs").get_json()["data"] == []


def test_a_kept_page_is_its_tenants_alone(
    http: FlaskClient, board: Board, done: Job, key: str, acme: dict[str, str]
) -> None:
    path = f"/v1/jobs/{done.id}/neurons?limit=3"
    secret = board.accounts.create_key("default", ("submit",))[1]
    assert http.get(path, headers=bearer(key)).status_code == 200

    assert code_of(http.get(path, headers=acme)) == (404, "not_found")
    assert code_of(http.get(path, headers=bearer(secret))) == (403, "missing_scope")
    assert code_of(http.get(path)) == (401, "unauthenticated")


def test_a_page_kept_before_its_job_expired_is_gone(
    http: FlaskClient, board: Board, done: Job
) -> None:
    path = f"/v1/jobs/{done.id}/neurons?limit=3"
    assert http.get(path).status_code == 200

    board.jobs._redis.hset(board.jobs._keys.job(done.id), "expires_at", "1.0")

    assert code_of(http.get(path)) == (410, "gone")


def test_anothers_expired_job_is_not_found(
    http: FlaskClient, board: Board, store: Store, key: str
) -> None:
    job = expire(board, store, "acme")

    before = code_of(http.get(f"/v1/jobs/{job.id}", headers=bearer(key)))
    board.jobs.delete_record(job.id, "acme", has_expired=True)

    assert (
        before == code_of(http.get(f"/v1/jobs/{job.id}", headers=bearer(key))) == (404, "not_found")
    )


def test_a_job_says_when_it_expires(http: FlaskClient, board: Board) -> None:
    kept, passing = open_job(board).id, open_job(board).id
    run_job(board, kept)
    board.jobs.end(passing, "failed", keep_s=3600)

    found = [http.get(f"/v1/jobs/{job}").get_json() for job in (kept, passing)]

    assert found[0]["expires_at"] is None
    assert found[1]["expires_at"][:13] > found[1]["finished_at"][:13]


def test_a_deleted_job_leaves_no_file_and_no_bytes(
    http: FlaskClient, board: Board, store: Store, acme: dict[str, str]
) -> None:
    job = board.jobs.open(make_request(), tenant="acme").job
    write_result(store, job, layers=(0,))
    run_job(board, job)
    board.accounts.note_stored("acme", f"job:{job}", store.folder_size(Layout.result(job)))
    stored = board.accounts.stored_bytes("acme")

    answer = http.delete(f"/v1/jobs/{job}", headers=acme)

    assert (answer.status_code, stored > 0) == (204, True)
    assert store.names("results") == []
    assert board.accounts.stored_bytes("acme") == 0
    assert board.jobs.files_to_delete(for_s=0) == []


# Where it may listen


@pytest.mark.parametrize(
    ("host", "is_so"),
    [
        ("localhost", True),
        ("127.3.2.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.7", False),
        ("", False),
        ("127.0.0.1.example", False),
        ("2130706433", False),
    ],
)
def test_loopback_is_told_from_the_rest(host: str, is_so: bool) -> None:
    assert is_loopback(host) is is_so


def test_elsewhere_than_here_is_listened_on_only_with_a_key(
    settings: Settings, board: Board
) -> None:
    check_exposure([("127.0.0.1", 80), ("::1", 80, 0, 0), "/run/a.sock"], settings)
    check_exposure([("0.0.0.0", 80)], replace(settings, keyless="any"))
    for address in [("0.0.0.0", 80), ("::", 80, 0, 0), 3]:
        with pytest.raises(Exposed, match="there is no API key"):
            check_exposure([("127.0.0.1", 80), address], settings)

    board.accounts.create_key("default", ("read",))

    check_exposure([("0.0.0.0", 80)], settings)


def test_a_setting_that_is_none_is_refused(settings: Settings) -> None:
    with pytest.raises(Exposed, match="POLYSEME_KEYLESS='yes'"):
        create_app(replace(settings, keyless="yes"))


def test_a_tenants_quotas_are_the_services_unless_set() -> None:
    assert Tenant("acme", active_jobs=3).quotas(Settings()) == Quotas(
        3, 1_000_000_000, 100 << 30, 6000
    )


def test_a_corpus_of_another_tenant_in_use_is_no_obstacle(
    http: FlaskClient, board: Board, store: Store, acme: dict[str, str]
) -> None:
    board.registry.put_card(make_card())
    add_corpus(board, store)
    open_job(board)

    assert http.delete("/v1/corpora/notes", headers=acme).status_code == 204
    assert board.registry.get_corpus("notes") is not None
