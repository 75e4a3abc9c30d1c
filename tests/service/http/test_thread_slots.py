from __future__ import annotations

import pytest

from polyseme.service.http.thread_slots import TenantSlots, share_threads


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


def test_a_tenant_has_so_many_slots_of_a_kind() -> None:
    slots = TenantSlots(share_threads(16).uploads, most_of_one=4)

    assert [slots.acquire("acme") for _ in range(16)].count(True) == 4
    assert [slots.acquire("beta") for _ in range(16)].count(True) == 4
    assert not slots.acquire("gamma")
    slots.release("acme")
    assert slots.acquire("gamma")
