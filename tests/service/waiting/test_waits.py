from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from polyseme.contract.board.board import Board
from polyseme.contract.records.job import Job
from polyseme.service.http.thread_slots import share_threads
from polyseme.service.waiting.waits import WaitRoom
from polyseme.service.waiting.watch import Watch, read_jobs
from tests.factories import open_job


def make_room(board: Board, places: int) -> WaitRoom:
    return WaitRoom(share_threads(2 * places).waits, Watch(partial(read_jobs, board)))


def is_over(job: Job) -> bool:
    return job.is_terminal


def test_a_waiter_gets_the_job_when_it_ends(board: Board) -> None:
    job = open_job(board)
    threading.Timer(0.3, board.jobs.end, (job.id, "cancelled")).start()

    started = time.monotonic()
    found, waited = make_room(board, 2).wait(job, is_over, 10)

    assert (found.status, waited) == ("cancelled", True)
    assert time.monotonic() - started < 3


def test_a_wait_that_ends_first_gives_the_present_state(board: Board) -> None:
    job = open_job(board)

    found, waited = make_room(board, 2).wait(job, is_over, 0.3)

    assert (found.status, waited) == ("queued", True)


def test_who_finds_no_place_is_answered_at_once(board: Board) -> None:
    job, room = open_job(board), make_room(board, 1)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(room.wait, job, is_over, 1.0)
        time.sleep(0.2)
        started = time.monotonic()
        _, waited = room.wait(job, is_over, 1.0)
        took = time.monotonic() - started

    assert not waited
    assert took < 0.5
    assert first.result()[1]


def test_a_job_deleted_meanwhile_ends_the_wait(board: Board) -> None:
    job = open_job(board)
    board.jobs.end(job.id, "cancelled")
    board.jobs.delete_record(job.id)

    found, _ = make_room(board, 1).wait(job, is_over, 5)

    assert found is job
