from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import redis

from contract.board import Board
from service.watch import Sight, Sights, Watch, look_at
from tests.factories import open_job
from tests.servers import RedisServer


def is_terminal(seen: Sight) -> bool:
    return seen.job.is_terminal


def test_one_reader_serves_all_who_follow(board: Board) -> None:
    jobs = [open_job(board).id for _ in range(3)]
    readers: set[str] = set()

    def look(ids: Sequence[str]) -> Sights:
        readers.add(threading.current_thread().name)
        return look_at(board, ids)

    watch = Watch(look)

    def follow(job: str) -> Sight | None:
        with watch.following(job) as follower:
            return follower.wait(is_terminal, 5)

    with ThreadPoolExecutor(6) as pool:
        waiting = [pool.submit(follow, job) for job in jobs * 2]
        for job in jobs:
            board.end_job(job, "cancelled")
        found = [w.result() for w in waiting]

    assert [seen.job.status for seen in found if seen] == ["cancelled"] * 6
    assert readers == {"watch"}


def test_nobody_reads_when_nobody_follows(board: Board) -> None:
    rounds: list[int] = []

    def look(ids: Sequence[str]) -> Sights:
        rounds.append(len(ids))
        return look_at(board, ids)

    with Watch(look).following(open_job(board).id) as follower:
        follower.wait(is_terminal, 0.2)
    time.sleep(0.2)
    before = len(rounds)
    time.sleep(0.3)

    assert before == len(rounds)
    assert rounds


def test_it_tells_whether_a_worker_serves_the_queue(board: Board) -> None:
    job = open_job(board).id

    unserved = look_at(board, [job])[job].is_served
    board.announce_worker("w", ttl_s=10)

    assert not unserved
    assert look_at(board, [job])[job].is_served


def test_a_job_that_is_not_there_is_nothing(board: Board) -> None:
    with Watch(partial(look_at, board)).following("job_" + "0" * 28) as follower:
        assert follower.wait(is_terminal, 5) is None


def test_those_who_wait_hear_that_redis_is_gone_and_later_ones_that_it_is_back() -> None:
    with RedisServer.running() as server:
        board = Board.connect(server.url)
        job, watch = open_job(board).id, Watch(partial(look_at, board))
        with watch.following(job) as follower:
            follower.wait(lambda _: True, 5)
            server.kill()
            with pytest.raises(redis.RedisError):
                follower.wait(is_terminal, 5)
        server.start()

        with watch.following(job) as follower:
            seen = follower.wait(lambda _: True, 5)

    assert seen
    assert seen.job.id == job


def test_closing_ends_every_wait(board: Board) -> None:
    watch = Watch(partial(look_at, board))
    threading.Timer(0.2, watch.close).start()

    started = time.monotonic()
    with watch.following(open_job(board).id) as follower:
        follower.wait(is_terminal, 10)

    assert time.monotonic() - started < 3
