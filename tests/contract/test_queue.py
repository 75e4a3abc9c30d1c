"""Tickets on a real Redis."""

from __future__ import annotations

from contract.board import Board
from contract.queue import connect_queue, send_ticket, ticket_keys


def test_a_ticket_lies_in_the_list_of_its_queue(board: Board, redis_url: str) -> None:
    app = connect_queue(redis_url)

    for queue in ("default", "big", "big"):
        send_ticket(app, queue)

    assert board.list_lengths(ticket_keys(["default", "big"])) == {"default": 1, "big": 2}
