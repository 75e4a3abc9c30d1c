from __future__ import annotations

import pytest

from polyseme.service.http.thread_slots import share_threads


@pytest.mark.parametrize(
    ("threads", "each", "together"), [(16, 8, 12), (4, 2, 3), (2, 1, 1), (1, 1, 1)]
)
def test_each_kind_holds_half_of_the_threads_and_both_three_quarters(
    threads: int, each: int, together: int
) -> None:
    shares = share_threads(threads)
    waits, bodies = shares.waits, shares.bodies

    assert [waits.acquire() for _ in range(threads)].count(True) == each
    assert [bodies.acquire() for _ in range(threads)].count(True) == together - each


def test_a_place_that_was_left_is_free_for_either_kind() -> None:
    shares = share_threads(4)
    waits, bodies = shares.waits, shares.bodies
    for slots in (waits, waits, bodies):
        assert slots.acquire()

    waits.release()

    assert bodies.acquire()
    assert not waits.acquire()
    bodies.release()
    assert waits.acquire()
