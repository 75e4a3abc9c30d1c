"""Tickets on a real Redis."""

from __future__ import annotations

from contract.board import Board
from contract.queue import connect_queue, queue_keys, send_unit


def test_a_ticket_lies_in_the_list_of_its_priority(board: Board, redis_url: str) -> None:
    app = connect_queue(redis_url)

    for priority, count in (("high", 1), ("normal", 2), ("low", 3)):
        for unit in range(count):
            send_unit(app, "job", f"scan:{unit}", priority)

    assert board.list_lengths(queue_keys()) == {"high": 1, "normal": 2, "low": 3}
