from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import redis

from polyseme.contract.board.board import Board
from polyseme.service.waiting.watch import JobSnapshot, JobSnapshots, Watch, read_jobs
from tests.factories import open_job
from tests.servers import RedisServer


def is_terminal(seen: JobSnapshot) -> bool:
    return seen.job.is_terminal


def test_one_reader_serves_all_who_follow(board: Board) -> None:
    jobs = [open_job(board).id for _ in range(3)]
    readers: set[str] = set()

    def look(ids: Sequence[str]) -> JobSnapshots:
        readers.add(threading.current_thread().name)
        return read_jobs(board, ids)

    watch = Watch(look)

    def follow(job: str) -> JobSnapshot | None:
        with watch.subscribe(job) as subscription:
            return subscription.wait(is_terminal, 5)

    with ThreadPoolExecutor(6) as pool:
        waiting = [pool.submit(follow, job) for job in jobs * 2]
        for job in jobs:
            board.jobs.end(job, "cancelled")
        found = [w.result() for w in waiting]

    assert [seen.job.status for seen in found if seen] == ["cancelled"] * 6
    assert readers == {"watch"}


def test_nobody_reads_when_nobody_follows(board: Board) -> None:
    rounds: list[int] = []

    def look(ids: Sequence[str]) -> JobSnapshots:
        rounds.append(len(ids))
        return read_jobs(board, ids)

    with Watch(look).subscribe(open_job(board).id) as subscription:
        subscription.wait(is_terminal, 0.2)
    time.sleep(0.2)
    before = len(rounds)
    time.sleep(0.3)

    assert before == len(rounds)
    assert rounds


def test_it_tells_whether_a_worker_serves_the_queue(board: Board) -> None:
    job = open_job(board).id

    unserved = read_jobs(board, [job])[job].is_served
    board.workers.announce("w", ttl_s=10)

    assert not unserved
    assert read_jobs(board, [job])[job].is_served


def test_a_job_that_is_not_there_is_nothing(board: Board) -> None:
    with Watch(partial(read_jobs, board)).subscribe("job_" + "0" * 28) as subscription:
        assert subscription.wait(is_terminal, 5) is None


def test_those_who_wait_hear_that_redis_is_gone_and_later_ones_that_it_is_back() -> None:
    with RedisServer.running() as server:
        board = Board.connect(server.url)
        job, watch = open_job(board).id, Watch(partial(read_jobs, board))
        with watch.subscribe(job) as subscription:
            subscription.wait(lambda _: True, 5)
            server.kill()
            with pytest.raises(redis.RedisError):
                subscription.wait(is_terminal, 5)
        server.start()

        with watch.subscribe(job) as subscription:
            seen = subscription.wait(lambda _: True, 5)

    assert seen
    assert seen.job.id == job


def test_closing_ends_every_wait(board: Board) -> None:
    watch = Watch(partial(read_jobs, board))
    threading.Timer(0.2, watch.close).start()

    started = time.monotonic()
    with watch.subscribe(open_job(board).id) as subscription:
        subscription.wait(is_terminal, 10)

    assert time.monotonic() - started < 3
