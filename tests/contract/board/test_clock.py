"""Redis' clock steps by an hour, and back: no lease and no result is lost for it, none is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyseme.contract.board.board import Board
from tests.factories import open_job, take_unit
from tests.false_clock import FalseClock
from tests.servers import RedisServer

HOUR = 3600
STEPS = [HOUR, -HOUR]


@pytest.fixture
def clock(tmp_path: Path) -> FalseClock:
    return FalseClock(tmp_path)


@pytest.fixture
def stepping(clock: FalseClock) -> Iterator[Board]:
    """A board in a Redis with that clock."""
    with RedisServer.running(clock.environ) as server:
        yield Board.connect(server.url)


def pass_time(board: Board, seconds: float) -> None:
    """As it passes while a worker lives."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        board.workers.announce("alive", ttl_s=5)
        time.sleep(0.2)


def claim(board: Board, job: str) -> list[str]:
    return board.units.claim(job, ["plan"], room=8, patience_s=60)


@pytest.mark.parametrize("seconds", STEPS)
def test_a_live_workers_unit_stays_its_own(
    stepping: Board, clock: FalseClock, seconds: int
) -> None:
    job = open_job(stepping).id
    lease = take_unit(stepping, job, "plan", lease_s=15)
    assert lease is not None

    for step in (seconds, 0, seconds):
        clock.step(step)
        assert stepping.units.renew(lease, lease_s=15) == "running"
        assert claim(stepping, job) == []
        assert stepping.units.count_held(job) == 1


@pytest.mark.parametrize("seconds", STEPS)
def test_a_dead_workers_unit_is_given_to_another_in_time(
    stepping: Board, clock: FalseClock, seconds: int
) -> None:
    job = open_job(stepping).id
    take_unit(stepping, job, "plan", lease_s=6)
    clock.step(seconds)
    pass_time(stepping, 0.5)
    assert claim(stepping, job) == []

    pass_time(stepping, 6)

    assert claim(stepping, job) == ["plan"]


@pytest.mark.parametrize("seconds", STEPS)
def test_another_worker_takes_the_lead_in_time(
    stepping: Board, clock: FalseClock, seconds: int
) -> None:
    assert stepping.workers.acquire_leadership("dead", most_s=6)
    clock.step(seconds)
    pass_time(stepping, 0.5)
    assert not stepping.workers.acquire_leadership("alive", most_s=6)

    pass_time(stepping, 6)

    assert stepping.workers.acquire_leadership("alive", most_s=6)


@pytest.mark.parametrize("seconds", STEPS)
def test_who_lives_is_known(stepping: Board, clock: FalseClock, seconds: int) -> None:
    stepping.workers.announce("dead", ttl_s=6)
    stepping.workers.announce("alive", ttl_s=6)

    clock.step(seconds)
    assert sorted(stepping.workers.list_names()) == ["alive", "dead"]
    pass_time(stepping, 6.5)

    assert stepping.workers.list_names() == ["alive"]
    assert stepping.workers.count() == 1


def test_what_waits_is_counted_as_waiting(stepping: Board, clock: FalseClock) -> None:
    job = open_job(stepping).id
    assert claim(stepping, job) == ["plan"]

    clock.step(HOUR)
    survey = stepping.jobs.survey()

    (deadline,) = survey.jobs[0].deadlines.values()
    assert 50 < deadline - survey.ticks <= 60


def test_an_hour_ahead_for_a_while_deletes_nothing(stepping: Board, clock: FalseClock) -> None:
    job = open_job(stepping).id
    stepping.jobs.end(job, "succeeded", keep_s=HOUR / 2)
    clock.step(HOUR)
    for _ in range(4):
        assert stepping.jobs.list_expired() == []
        pass_time(stepping, 2)

    clock.step(0)

    assert stepping.jobs.list_expired() == []
    assert stepping._redis.hlen("polyseme:expiring_seen") == 0
    found = stepping.jobs.get(job)
    assert found is not None
    assert not found.has_expired


def test_what_has_expired_is_deleted_after_a_second_look(
    stepping: Board, clock: FalseClock
) -> None:
    job = open_job(stepping).id
    stepping.jobs.end(job, "succeeded", keep_s=3)
    clock.step(HOUR)
    assert stepping.jobs.list_expired() == []

    pass_time(stepping, 3.5)

    assert stepping.jobs.list_expired() == [job]
