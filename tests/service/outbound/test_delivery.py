"""One attempt to deliver, over real sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence

import pytest

from polyseme.service.outbound.addresses import Allowed
from polyseme.service.outbound.delivery import Outcome, Poster
from tests.service.receiver import Receiver, receiving

LOOPBACK = Allowed.parse("127.0.0.1")
BODY = b'{"type":"job.succeeded"}'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def post(url: str, poster: Poster | None = None) -> Outcome:
    return (poster or Poster(LOOPBACK, timeout_s=1)).post(url, BODY, {"webhook-id": "evt_1"})


def test_what_is_posted_arrives_with_its_headers(receiver: Receiver) -> None:
    outcome = post(receiver.url + "?token=1")

    assert outcome == Outcome(204, None)
    (got,) = receiver.posts
    assert (got.path, got.body, got.headers["webhook-id"]) == ("/hook?token=1", BODY, "evt_1")
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert got.headers["content-type"] == "application/json"


@pytest.mark.parametrize("status", [200, 201, 299])
def test_any_success_is_one(receiver: Receiver, status: int) -> None:
    receiver.answers = [status]

    assert post(receiver.url) == Outcome(status, None)


@pytest.mark.parametrize(
    ("status", "final"), [(400, False), (404, False), (410, True), (429, False), (500, False)]
)
def test_any_other_answer_is_a_failure_and_gone_is_the_last(
    receiver: Receiver, status: int, final: bool
) -> None:
    receiver.answers = [status]

    outcome = post(receiver.url)

    assert outcome == Outcome(status, f"answered {status}")
    assert outcome.is_final is final


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(receiver: Receiver, status: int) -> None:
    receiver.answers, receiver.location = [status], receiver.url + "/elsewhere"

    assert post(receiver.url) == Outcome(status, f"answered {status}")
    assert [p.path for p in receiver.posts] == ["/hook"]


def test_no_proxy_of_the_environment_is_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert post(receiver.url).status == 204


def test_the_connection_goes_to_the_address_that_was_checked(receiver: Receiver) -> None:
    answers = [["127.0.0.1"], ["127.0.0.2"]]

    def rebinding(host: str, port: int) -> Sequence[str]:
        return answers.pop(0)

    outcome = post(
        f"http://rebinding.example:{receiver.port}/hook",
        Poster(LOOPBACK, resolve=rebinding, timeout_s=1),
    )

    assert outcome == Outcome(204, None)
    assert answers == [["127.0.0.2"]]  # it was asked once
    assert receiver.posts[0].headers["host"] == f"rebinding.example:{receiver.port}"


def test_another_address_is_tried_when_the_first_does_not_answer(receiver: Receiver) -> None:
    allowed = Allowed.parse("127.0.0.0/8")
    poster = Poster(allowed, resolve=lambda host, port: ["127.0.0.9", "127.0.0.1"], timeout_s=1)

    assert post(f"http://two.example:{receiver.port}/", poster).status == 204


def test_a_receiver_that_drips_holds_it_no_longer_than_the_time_of_an_attempt(
    receiver: Receiver,
) -> None:
    receiver.drip_s = 0.1
    began = time.monotonic()

    outcome = post(receiver.url)

    assert outcome == Outcome(None, "no answer within 1 s")
    assert time.monotonic() - began < 3


def test_a_receiver_that_says_nothing_is_left(receiver: Receiver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        outcome = post(f"http://127.0.0.1:{silent.getsockname()[1]}/")

    assert outcome == Outcome(None, "no answer within 1 s")


def test_nobody_there_is_a_failure_that_says_so() -> None:
    outcome = post("http://127.0.0.1:1/")

    assert outcome.status is None
    assert "refused" in str(outcome.error)


def test_a_certificate_that_nobody_vouches_for_is_refused(receiver: Receiver) -> None:
    outcome = post(f"https://127.0.0.1:{receiver.port}/")

    assert outcome.status is None
    assert receiver.posts == []
