"""The receiver of docs/webhooks.md, run as it stands there."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from polyseme.contract.board.board import Board
from polyseme.contract.board.outbox import Outbox
from polyseme.service.outbound.addresses import Allowed
from polyseme.service.outbound.delivery import Poster
from polyseme.service.webhooks.sender import DELAYS_S, Sender
from tests.factories import open_job, run_job
from tests.test_docs import blocks, read


@pytest.mark.parametrize("times", [1, 2])
def test_the_documented_receiver_takes_an_event_once(
    board: Board, redis_url: str, times: int
) -> None:
    outbox, events = Outbox.connect(redis_url), list[Any]()
    page: dict[str, Any] = {}
    exec(blocks(read("docs/webhooks.md"), "python")[0], page)
    server = page["make_server"](0, outbox.list_secrets("default")[0], events.append)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    job = run_job(
        board, open_job(board, webhook={"url": f"http://127.0.0.1:{server.server_address[1]}/"}).id
    )
    taken = outbox.take(lease_s=30)
    assert taken is not None

    outcomes = [
        Sender(board, outbox, Poster(Allowed.parse("127.0.0.1"))).deliver(taken)
        for _ in range(times)
    ]

    server.shutdown()
    server.server_close()
    thread.join()
    assert [o.status for o in outcomes if o] == [204] * times
    assert [(e["type"], e["data"]["id"]) for e in events] == [("job.succeeded", job.id)]


def test_the_documented_schedule_is_the_schedule() -> None:
    units = {"s": 1, "min": 60, "h": 3600}
    text = (
        read("docs/webhooks.md").partition("tried again after ")[2].partition(", each a fifth")[0]
    )

    delays = [
        int(n) * units[u]
        for n, u in (part.split() for part in text.replace(" and ", ", ").split(", "))
    ]

    assert delays == list(DELAYS_S)
