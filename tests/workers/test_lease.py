"""A held lease on a real board."""

from __future__ import annotations

import threading
import time

from polyseme.contract.board.board import Board
from polyseme.contract.board.units import Lease
from polyseme.workers.lease import HeldLease
from tests.factories import open_job, take_unit


def begin(board: Board, lease_s: float = 1.5) -> Lease:
    lease = take_unit(board, open_job(board).id, "plan", lease_s=lease_s)
    assert lease is not None
    return lease


def wait_until_stopped(held: HeldLease, limit_s: float) -> bool:
    end = time.monotonic() + limit_s
    while time.monotonic() < end and not held.should_stop():
        time.sleep(0.05)
    return held.should_stop()


def test_a_cancel_is_noticed_within_two_seconds(board: Board) -> None:
    lease = begin(board)

    with HeldLease(board, lease, lease_s=1.5, draining=threading.Event()) as held:
        assert not held.should_stop()
        board.jobs.cancel(lease.job)
        assert wait_until_stopped(held, 2.0)


def test_a_held_lease_outlives_its_first_deadline_and_tells_progress(board: Board) -> None:
    lease = begin(board)

    with HeldLease(board, lease, lease_s=1.5, draining=threading.Event()) as held:
        held.note_tokens(42)
        time.sleep(2.0)
        assert board.units.count_held(lease.job) == 1
        assert not held.should_stop()
    job = board.jobs.get(lease.job)
    assert job is not None
    assert job.progress.tokens_done == 42


def test_work_that_shows_no_life_is_looked_at_and_given_up(board: Board) -> None:
    lease, looks = begin(board), list[float]()

    def look(_: Lease, silent_s: float) -> bool:
        looks.append(silent_s)
        return len(looks) == 2

    with HeldLease(board, lease, lease_s=1.0, draining=threading.Event(), look=look) as held:
        for _ in range(6):
            assert not held.should_stop()
            time.sleep(0.3)
        assert looks == []
        time.sleep(3.5)
        assert held.is_lost
        assert held.should_stop()

    assert looks == [1.0, 2.0]
    assert held.longest_silence_s >= 2.0


def test_work_that_is_done_is_not_looked_at(board: Board) -> None:
    looks: list[float] = []

    def look(_: Lease, silent_s: float) -> bool:
        looks.append(silent_s)
        return False

    with HeldLease(board, begin(board), lease_s=0.5, draining=threading.Event(), look=look) as held:
        held.stop_watching()
        time.sleep(2.0)

    assert looks == []


def test_a_draining_process_stops_at_once(board: Board) -> None:
    draining = threading.Event()

    with HeldLease(board, begin(board), lease_s=1.5, draining=draining) as held:
        draining.set()
        assert held.should_stop()
