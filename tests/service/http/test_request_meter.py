from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from polyseme.contract.board.accounts import Accounts, Grant
from polyseme.contract.board.board import Board
from polyseme.service.http.request_meter import RequestMeter


class Counted(Accounts):
    """Accounts that count how often they were asked, of a minute that does not end."""

    asked = 0
    used = 0

    def __init__(self) -> None:
        pass

    def grant_requests(self, tenant: str, wanted: int, limit: int) -> Grant:
        self.asked += 1
        granted = min(wanted, limit - self.used)
        self.used += granted
        return Grant(granted, limit - self.used, 60)


def test_a_hundredth_is_taken_at_a_time() -> None:
    accounts = Counted()
    meter = RequestMeter(accounts, lambda: 0.0)

    rates = [meter.take("acme", 1000) for _ in range(25)]

    assert accounts.asked == 3
    assert all(r.granted for r in rates)
    assert [r.left for r in rates] == list(range(999, 974, -1))


def test_once_a_minute_is_used_up_nobody_is_asked() -> None:
    accounts = Counted()
    meter = RequestMeter(accounts, lambda: 0.0)

    granted = [meter.take("acme", 5).granted for _ in range(50)]

    assert granted == [True] * 5 + [False] * 45
    assert accounts.asked == 5


def test_the_next_minute_begins_anew_and_so_does_another_limit() -> None:
    accounts, now = Counted(), [0.0]
    meter = RequestMeter(accounts, lambda: now[0])
    used_up = [meter.take("acme", 2).granted for _ in range(3)]

    raised = meter.take("acme", 3).granted
    now[0], accounts.used = 61.0, 0

    assert (used_up, raised, meter.take("acme", 3).granted) == ([True, True, False], True, True)


def test_processes_together_let_no_more_in_than_the_limit(board: Board) -> None:
    meters = [RequestMeter(board.accounts) for _ in range(4)]

    with ThreadPoolExecutor(8) as pool:
        granted = list(pool.map(lambda i: meters[i % 4].take("acme", 200).granted, range(1200)))

    assert sum(granted) in (200, 400)  # 400: a minute began meanwhile
