from __future__ import annotations

import os
import subprocess
import sys

from polyseme.contract.board.board import Board
from polyseme.contract.board.workers import worker_name
from tests.deploy.conftest import DEPLOY


def exit_code(redis_url: str) -> int:
    environ = os.environ | {"REDIS_URL": redis_url}
    return subprocess.run(
        [sys.executable, DEPLOY / "worker_health.py"], env=environ, check=False
    ).returncode


def test_a_worker_that_was_heard_of_is_healthy_and_one_that_was_not_is_not(
    redis_url: str, board: Board
) -> None:
    before = exit_code(redis_url)
    board.workers.announce(worker_name(1), ttl_s=30)

    assert (before, exit_code(redis_url)) == (1, 0)


def test_a_board_that_is_away_is_not_the_workers_fault() -> None:
    assert exit_code("unix:///nowhere.sock") == 0
