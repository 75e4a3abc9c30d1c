"""Whose turn it is, on a real server.

The tests move the accounts as time does: by charging them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import pytest
import redis

from polyseme.contract.board.board import Board
from polyseme.contract.board.lanes import HEAD_START_S, OVERDUE_S, lanes_of
from polyseme.contract.board.units import Lease
from polyseme.contract.names import parse_queues
from tests.factories import open_job

QUEUES = ("default",)


@pytest.fixture
def server(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url, decode_responses=True)


def wait_in_line(
    board: Board,
    server: redis.Redis,
    units: int,
    *,
    tenant: str = "default",
    priority: str = "normal",
    queue: str = "default",
) -> str:
    """A job of a tenant with units that wait."""
    job = open_job(board).id
    server.hset(f"polyseme:job:{job}", "tenant", tenant)
    names = [f"scan:{i}" for i in range(units)]
    assert (
        board.units.claim(job, names, room=units, patience_s=60, queue=queue, priority=priority)
        == names
    )
    return job


def take(board: Board, queues: Sequence[str] = QUEUES) -> Lease:
    lease = board.units.take(queues, lease_s=30)
    assert lease is not None
    return lease


def charge(server: redis.Redis, tenant: str, seconds: float, lane: str = "default:normal") -> None:
    """What a tenant with waiting units had so far."""
    server.hincrbyfloat(f"polyseme:shares:{lane}", f"t:{tenant}", seconds)
    server.zincrby(f"polyseme:lane:{lane}", seconds, tenant)


def test_units_of_a_job_are_taken_in_their_order_and_once(
    board: Board, server: redis.Redis
) -> None:
    job = wait_in_line(board, server, 3)

    taken = [take(board) for _ in range(3)]

    assert [(t.job, t.unit, t.attempt) for t in taken] == [(job, f"scan:{i}", 1) for i in range(3)]
    assert board.units.take(QUEUES, lease_s=30) is None
    assert board.units.count_held(job) == 3
    assert set(board.units.count_waiting().values()) == {0}


def test_higher_priorities_go_first_and_live_checks_before_all(
    board: Board, server: redis.Redis
) -> None:
    jobs = {
        p: wait_in_line(board, server, 1, priority=p) for p in ("low", "normal", "high", "live")
    }

    taken = [take(board).job for _ in jobs]

    assert taken == [jobs[p] for p in ("live", "high", "normal", "low")]


def test_tenants_get_turns_by_their_weights(board: Board, server: redis.Redis) -> None:
    server.hset("polyseme:tenant:big", "weight", "3")
    jobs = {wait_in_line(board, server, 400, tenant=t): t for t in ("big", "small")}

    taken = Counter(jobs[take(board).job] for _ in range(400))

    assert taken == {"big": 300, "small": 100}


def test_the_jobs_of_one_tenant_take_turns(board: Board, server: redis.Redis) -> None:
    jobs = [wait_in_line(board, server, 20) for _ in range(2)]

    taken = Counter(take(board).job for _ in range(20))

    assert taken == dict.fromkeys(jobs, 10)


def test_many_jobs_are_no_more_turns_for_their_tenant(board: Board, server: redis.Redis) -> None:
    many = {wait_in_line(board, server, 5, tenant="a") for _ in range(8)}
    wait_in_line(board, server, 40, tenant="b")

    taken = Counter(take(board).job in many for _ in range(40))

    assert taken == {True: 20, False: 20}


def test_who_comes_late_is_not_owed_the_past(board: Board, server: redis.Redis) -> None:
    busy = wait_in_line(board, server, 1000, tenant="busy")
    charge(server, "busy", 1_000_000)
    take(board)
    wait_in_line(board, server, 1000, tenant="late")

    taken = [take(board).job != busy for _ in range(600)]

    ahead = taken.index(False)
    assert ahead == pytest.approx(HEAD_START_S, abs=2)
    assert Counter(taken[ahead:])[True] == pytest.approx((600 - ahead) / 2, abs=1)


def test_coming_back_earns_no_second_head_start(board: Board, server: redis.Redis) -> None:
    busy = wait_in_line(board, server, 1000, tenant="busy")
    charge(server, "busy", 1_000_000)
    take(board)
    wait_in_line(board, server, 100, tenant="guest")
    first = [take(board).job != busy for _ in range(100)]

    wait_in_line(board, server, 100, tenant="guest")
    second = [take(board).job != busy for _ in range(100)]

    assert sum(first) == 100
    assert second.index(False) == pytest.approx(HEAD_START_S - 100, abs=2)


def test_a_lane_that_was_passed_over_for_long_goes_once(board: Board, server: redis.Redis) -> None:
    wait_in_line(board, server, 3, priority="high")
    low = wait_in_line(board, server, 2, priority="low")
    live = wait_in_line(board, server, 1, priority="live")
    server.hincrbyfloat("polyseme:shares:default:low", "at", -OVERDUE_S)

    taken = [take(board).job for _ in range(4)]

    assert taken[0] == live
    assert [job == low for job in taken[1:]] == [True, False, False]


def test_a_held_unit_costs_its_time(board: Board, server: redis.Redis) -> None:
    job = wait_in_line(board, server, 2)
    lease = take(board)
    time.sleep(0.3)

    board.units.renew(lease, lease_s=30)

    account = float(str(server.hget(f"polyseme:job:{job}", "served")))
    assert account == pytest.approx(1.3 - HEAD_START_S, abs=0.15)
    assert server.zscore("polyseme:lane:default:normal", "default") == pytest.approx(account)


def test_a_job_whose_worker_died_comes_after_the_others(board: Board, server: redis.Redis) -> None:
    deadly, other = wait_in_line(board, server, 2), wait_in_line(board, server, 5)
    died = board.units.take(QUEUES, lease_s=0.01)
    assert died is not None
    assert died.job == deadly
    time.sleep(0.05)

    board.units.claim(deadly, [died.unit], room=2, patience_s=60)

    assert [take(board).job for _ in range(7)] == [other] * 5 + [deadly] * 2


def test_a_job_that_is_over_is_passed_by(board: Board, server: redis.Redis) -> None:
    cancelled, ended, alive = (wait_in_line(board, server, 2) for _ in range(3))
    board.jobs.cancel(cancelled)
    board.jobs.end(ended, "failed")

    assert [take(board).job for _ in range(2)] == [alive, alive]
    assert board.units.take(QUEUES, lease_s=30) is None


def test_a_unit_that_was_given_back_waits_before_the_others(
    board: Board, server: redis.Redis
) -> None:
    job = wait_in_line(board, server, 3)
    board.units.release(take(board))

    assert board.units.take(QUEUES, lease_s=30) is not None  # scan:1
    board.units.claim(job, ["scan:0", "scan:2"], room=4, patience_s=60)

    assert take(board).unit == "scan:0"


def test_a_unit_done_while_it_waited_is_passed_by(board: Board, server: redis.Redis) -> None:
    job = wait_in_line(board, server, 2)
    board.units.finish(job, "scan:0")

    assert take(board).unit == "scan:1"


def test_workers_take_from_their_queues_by_priority_before_queue(
    board: Board, server: redis.Redis
) -> None:
    pinned = wait_in_line(board, server, 2, queue="big", priority="high")
    common = wait_in_line(board, server, 1)

    assert take(board, ["default"]).job == common
    assert [take(board, ["default", "big"]).queue for _ in range(2)] == ["big", "big"]
    assert board.units.count_waiting()["big", "high"] == 0
    assert board.units.count_held(pinned) == 2


def test_a_job_whose_model_was_pinned_elsewhere_moves(board: Board, server: redis.Redis) -> None:
    job = wait_in_line(board, server, 1)

    board.units.claim(job, ["scan:1"], room=4, patience_s=60, queue="big")

    assert board.units.take(["default"], lease_s=30) is None
    assert board.units.count_waiting()["big", "normal"] == 2


def test_queues_are_read_from_a_setting() -> None:
    assert parse_queues("default, big,default") == ("default", "big")
    assert lanes_of(["a", "b"])[:3] == ["a:live", "b:live", "a:high"]
    with pytest.raises(ValueError, match="'Big' must match"):
        parse_queues("default,Big")
    with pytest.raises(ValueError, match="'' must match"):
        parse_queues("")
