"""Tickets on a real Redis."""

from __future__ import annotations

from polyseme.contract.board.board import Board
from polyseme.contract.tickets import connect_queue, send_ticket, taken_queues, ticket_keys


def test_a_ticket_lies_in_the_list_of_its_queue(board: Board, redis_url: str) -> None:
    app = connect_queue(redis_url)

    for queue in ("default", "big", "big"):
        send_ticket(app, queue)

    assert board.workers.count_tickets(ticket_keys(["default", "big"])) == {"default": 1, "big": 2}


def test_a_ticket_that_could_not_be_acknowledged_keeps_a_worker_from_no_other(
    redis_url: str,
) -> None:
    app = connect_queue(redis_url)
    for _ in range(2):
        send_ticket(app, "default")
    taken: list[object] = []

    with app.connection_for_read() as connection:
        consumer = connection.Consumer(taken_queues(["default"]), on_message=taken.append)
        consumer.qos(prefetch_count=1)  # as a worker's is
        with consumer:
            for _ in range(2):
                connection.drain_events(timeout=10)

    assert len(taken) == 2
