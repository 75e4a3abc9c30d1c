"""Attempts to make the service connect to what is not public. Each is refused when a job is
submitted, and again, for jobs that were taken before, when its event is sent: nothing reaches the
trap that listens on every loopback address.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from polyseme.contract.board.board import Board
from polyseme.contract.board.outbox import Outbox
from polyseme.service.context import KEY
from polyseme.service.outbound.addresses import Allowed
from polyseme.service.outbound.delivery import Poster
from polyseme.service.outbound.url_check import WebhookUrlCheck
from polyseme.service.webhooks.sender import Sender
from tests.factories import make_body, open_job, run_job
from tests.service.receiver import Receiver, receiving

PUBLIC = "93.184.215.14"

# What the names in the attempts resolve to.
NAMES: Mapping[str, Sequence[str]] = {
    "loopback.example": ["127.0.0.1"],
    "loopback6.example": ["::1"],
    "mixed.example": [PUBLIC, "127.0.0.1"],
    "mixed6.example": ["2606:4700:4700::1111", "::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "sixtofour.example": ["2002:7f00:1::"],
    "teredo.example": ["2001:0:4136:e378:8000:63bf:80ff:fffe"],
    "zone.example": ["fe80::1%eth0"],
    "metadata.example": ["169.254.169.254"],
    "redis": ["10.0.0.7"],
}

ATTEMPTS = {
    # IPv4, in its usual spelling
    "loopback": "https://127.0.0.1:{port}/",
    "another loopback": "https://127.9.9.9:{port}/",
    "no address": "https://0.0.0.0:{port}/",
    "this network": "https://0.1.2.3/",
    "private, 10": "https://10.0.0.1/",
    "private, 172.16": "https://172.16.0.1/",
    "private, 192.168": "https://192.168.1.1/",
    "carrier-grade NAT": "https://100.64.0.1/",
    "a cloud's metadata": "https://169.254.169.254/latest/meta-data/",
    "another cloud's metadata": "https://100.100.100.200/latest/",
    "a cloud's host": "https://168.63.129.16/machine",
    "multicast": "https://224.0.0.251/",
    "broadcast": "https://255.255.255.255/",
    "reserved": "https://240.0.0.1/",
    "documentation": "https://192.0.2.1/",
    "benchmarking": "https://198.18.0.1/",
    "6to4 relay": "https://192.88.99.1/",
    # IPv4, in others
    "decimal": "https://2130706433:{port}/",
    "hexadecimal": "https://0x7f000001:{port}/",
    "hexadecimal parts": "https://0x7f.0x0.0x0.0x1:{port}/",
    "octal": "https://0177.0.0.1:{port}/",
    "octal, whole": "https://017700000001:{port}/",
    "short": "https://127.1:{port}/",
    "shorter": "https://0:{port}/",
    "leading zeros": "https://127.000.000.001:{port}/",
    "a trailing dot": "https://127.0.0.1.:{port}/",
    "wide digits": "https://１２７.0.0.1:{port}/",
    "circled digits": "https://①②⑦.0.0.1:{port}/",
    "an ideographic full stop": "https://127。0。0。1:{port}/",
    "percent-encoded": "https://%31%32%37.0.0.1:{port}/",
    # IPv6
    "loopback, IPv6": "https://[::1]:{port}/",
    "no address, IPv6": "https://[::]:{port}/",
    "mapped": "https://[::ffff:127.0.0.1]:{port}/",
    "mapped, in hexadecimal": "https://[::ffff:7f00:1]:{port}/",
    "mapped and public": "https://[::ffff:93.184.215.14]/",
    "compatible": "https://[::127.0.0.1]:{port}/",
    "6to4": "https://[2002:7f00:1::]:{port}/",
    "NAT64": "https://[64:ff9b::127.0.0.1]:{port}/",
    "NAT64 of a private address": "https://[64:ff9b::a00:1]/",
    "local NAT64": "https://[64:ff9b:1::7f00:1]/",
    "Teredo": "https://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    "link-local": "https://[fe80::1]/",
    "link-local with a zone": "https://[fe80::1%25lo]/",
    "site-local": "https://[fec0::1]/",
    "unique local": "https://[fd00:ec2::254]/",
    "multicast, IPv6": "https://[ff02::1]/",
    "documentation, IPv6": "https://[2001:db8::1]/",
    "not allocated": "https://[4000::1]/",
    # Names
    "localhost": "https://localhost:{port}/",
    "localhost in capitals": "https://LOCALHOST:{port}/",
    "a name below localhost": "https://x.localhost:{port}/",
    "a name of a service beside": "https://redis:6379/",
    "a name of loopback": "https://loopback.example:{port}/",
    "a name of loopback, IPv6": "https://loopback6.example:{port}/",
    "a name of a public address and of loopback": "https://mixed.example:{port}/",
    "a name of two families, one of them loopback": "https://mixed6.example:{port}/",
    "a name of a mapped address": "https://mapped.example:{port}/",
    "a name of a NAT64 address": "https://nat64.example:{port}/",
    "a name of a 6to4 address": "https://sixtofour.example:{port}/",
    "a name of a Teredo address": "https://teredo.example:{port}/",
    "a name of a link-local address": "https://zone.example:{port}/",
    "a name of metadata": "https://metadata.example/",
    # Tricks with the URL
    "plain http": "http://93.184.215.14/",
    "plain http to loopback": "http://127.0.0.1:{port}/",
    "plain http to a name that nobody knows": "http://unknown.example/",
    "a file": "file:///etc/passwd",
    "gopher": "gopher://127.0.0.1:6379/_FLUSHALL",
    "a script": "javascript:alert(1)",
    "no scheme": "//127.0.0.1:{port}/",
    "no host": "https:///x",
    "a user": "https://93.184.215.14@127.0.0.1:{port}/",
    "a password": "https://a:b@93.184.215.14/",
    "an empty user": "https://@127.0.0.1:{port}/",
    "a backslash before the user": "https://127.0.0.1:{port}\\@93.184.215.14/",
    "a backslash for a slash": "https:\\\\127.0.0.1:{port}/",
    "a fragment before the user": "https://127.0.0.1:{port}#@93.184.215.14/",
    "an empty fragment": "https://93.184.215.14/#",
    "a line break": "https://93.184.215.14/\r\nHost: 127.0.0.1",
    "a tab": "https://127.0.0.1\t:{port}/",
    "a space": "https://127.0.0.1 .example/",
    "a leading space": " https://127.0.0.1:{port}/",
    "NUL": "https://127.0.0.1\0.example/",
    "a soft hyphen": "https://local\u00adhost:{port}/",
    "port 0": "https://93.184.215.14:0/",
    "a port beyond all": "https://93.184.215.14:65536/",
    "an empty port": "https://93.184.215.14:/",
    "an open bracket": "https://[::1/",
    "brackets around IPv4": "https://[127.0.0.1]:{port}/",
    "very long": "https://93.184.215.14/" + "x" * 2048,
    "empty": "",
}


def resolve(host: str, port: int) -> Sequence[str]:
    if host == "localhost" or host.endswith(".localhost"):
        return ["127.0.0.1", "::1"]
    if host not in NAMES:
        raise OSError(f"{host}: not known")
    return NAMES[host]


@pytest.fixture(scope="module")
def trap() -> Iterator[Receiver]:
    with receiving("0.0.0.0") as found:
        yield found


@pytest.fixture
def strict(app: Flask) -> FlaskClient:
    """A service that resolves by the table above."""
    app.extensions[KEY] = replace(
        app.extensions[KEY], webhook_urls=WebhookUrlCheck(Allowed(), resolve)
    )
    return app.test_client()


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_job_is_refused_with_a_pointer(
    attempt: str, strict: FlaskClient, board: Board, trap: Receiver
) -> None:
    url = ATTEMPTS[attempt].replace("{port}", str(trap.port))

    answer = strict.post("/v1/jobs", json=make_body(webhook={"url": url}))

    problem = answer.get_json()
    assert (answer.status_code, problem["code"]) == (422, "invalid_request")
    assert [e["pointer"] for e in problem["errors"]] == ["/webhook/url"]
    assert list(board.jobs.newest_first()) == []
    assert trap.posts == []


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_nothing_is_sent_for_a_job_that_was_taken_before(
    attempt: str, board: Board, redis_url: str, trap: Receiver
) -> None:
    url = ATTEMPTS[attempt].replace("{port}", str(trap.port)) or "x"
    outbox = Outbox.connect(redis_url)
    sender = Sender(board, outbox, Poster(Allowed(), resolve=resolve, timeout_s=0.2))
    run_job(board, open_job(board, webhook={"url": url}).id)
    taken = outbox.take(lease_s=30)
    assert taken is not None

    outcome = sender.deliver(taken)

    assert outcome is not None
    assert outcome.status is None
    assert "refused: " in str(outcome.error) or "not known" in str(outcome.error)
    assert trap.posts == []


def test_a_name_that_changes_its_address_after_the_submit_is_refused_when_it_is_sent(
    app: Flask, board: Board, redis_url: str, trap: Receiver
) -> None:
    answers = [[PUBLIC], ["127.0.0.1"]]

    def rebinding(host: str, port: int) -> Sequence[str]:
        return answers.pop(0)

    app.extensions[KEY] = replace(
        app.extensions[KEY], webhook_urls=WebhookUrlCheck(Allowed(), rebinding)
    )
    url = f"https://rebinding.example:{trap.port}/"
    job = app.test_client().post("/v1/jobs", json=make_body(webhook={"url": url})).get_json()["id"]
    run_job(board, job)
    outbox = Outbox.connect(redis_url)
    taken = outbox.take(lease_s=30)
    assert taken is not None

    outcome = Sender(board, outbox, Poster(Allowed(), resolve=rebinding, timeout_s=0.2)).deliver(
        taken
    )

    assert outcome is not None
    assert outcome.error == "refused: host rebinding.example: 127.0.0.1 is not a public address"
    assert trap.posts == []


def test_localhost_is_refused_with_this_machine_s_own_resolver(http: FlaskClient) -> None:
    answer = http.post("/v1/jobs", json=make_body(webhook={"url": "https://localhost/"}))

    assert answer.status_code == 422
    assert "not a public address" in answer.get_json()["detail"]


def test_a_name_that_cannot_be_resolved_yet_is_taken(strict: FlaskClient) -> None:
    answer = strict.post(
        "/v1/jobs", json=make_body(webhook={"url": "https://unknown.example/hook?key=1"})
    )

    assert answer.status_code == 202
    assert answer.get_json()["webhook"] == {
        "url": "https://unknown.example/hook?key=1",
        "state": "waiting",
        "attempts": 0,
        "last_status": None,
        "last_error": None,
        "next_attempt_at": None,
    }


@pytest.mark.parametrize(
    "webhook", ["https://x.example", [], {}, {"url": 1}, {"url": None}, {"url": "x", "secret": "y"}]
)
def test_a_webhook_of_another_shape_is_refused(webhook: object, http: FlaskClient) -> None:
    answer = http.post("/v1/jobs", json=make_body(webhook=webhook))

    assert answer.status_code == 422
    assert all(e["pointer"].startswith("/webhook") for e in answer.get_json()["errors"])


def test_there_are_many() -> None:
    assert len(ATTEMPTS) >= 60
