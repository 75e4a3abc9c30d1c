from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from polyseme.contract.board.board import Board
from polyseme.contract.errors import Unavailable
from polyseme.contract.files.probe import StoreProbe
from polyseme.contract.files.store import Store
from polyseme.service.monitoring.readiness import KEEP_S, Readiness


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def readiness(board: Board, store: Store, clock: Clock) -> Readiness:
    return Readiness(board, StoreProbe(store, wait_s=3), clock)


def count_commands(board: Board) -> int:
    return int(board.units._redis.info("stats")["total_commands_processed"])


def test_all_who_ask_within_a_second_get_one_answer(
    readiness: Readiness, board: Board, clock: Clock
) -> None:
    before = readiness.ask()
    board.workers.announce("w1", ttl_s=30)

    assert readiness.ask() is before
    clock.now += KEEP_S
    assert readiness.ask().workers == 1


def test_a_refusal_is_kept_too(
    readiness: Readiness, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: Iterator[str | None] = iter(["No space left on device", None])
    monkeypatch.setattr(StoreProbe, "ask", lambda self: next(answers))

    for _ in range(3):
        with pytest.raises(Unavailable, match="No space left"):
            readiness.ask()
    clock.now += KEEP_S
    assert readiness.ask().why is None


def test_so_many_keys_are_looked_up_in_a_second(readiness: Readiness, clock: Clock) -> None:
    assert [readiness.may_look_up() for _ in range(30)].count(True) == 20
    clock.now += 1
    assert readiness.may_look_up()


def test_strangers_who_ask_often_ask_redis_hardly_ever(
    http: FlaskClient, board: Board, key: str
) -> None:
    http.get("/readyz")
    before = count_commands(board)

    made_up = {"Authorization": "Bearer psk_" + "a" * 43}
    for headers in ({}, made_up):
        for _ in range(50):
            assert "queues" not in http.get("/readyz", headers=headers).get_json()

    # Some of the keys, and what is asked once a second.
    assert count_commands(board) - before < 100
