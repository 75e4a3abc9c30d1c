from __future__ import annotations

import pytest

from service.places import share_places


@pytest.mark.parametrize(("threads", "each", "together"), [(16, 8, 12), (4, 2, 3), (2, 1, 1), (1, 1, 1)])
def test_each_kind_holds_half_of_the_threads_and_both_three_quarters(threads: int, each: int, together: int) -> None:
    waits, bodies = share_places(threads)

    assert [waits.take() for _ in range(threads)].count(True) == each
    assert [bodies.take() for _ in range(threads)].count(True) == together - each


def test_a_place_that_was_left_is_free_for_either_kind() -> None:
    waits, bodies = share_places(4)
    for places in (waits, waits, bodies):
        assert places.take()

    waits.leave()

    assert bodies.take()
    assert not waits.take()
    bodies.leave()
    assert waits.take()
