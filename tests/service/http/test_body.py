from __future__ import annotations

import threading

import pytest

from polyseme.contract.errors import Unavailable
from polyseme.service.http.body import LONG_BYTES, MANY_VALUES, LargeBodies
from polyseme.service.http.thread_slots import TenantSlots, share_threads

MANY = b"," * (MANY_VALUES + 1)


@pytest.fixture
def bodies() -> LargeBodies:
    """Of a process with eight threads, of which a tenant has at most two."""
    return LargeBodies(TenantSlots(share_threads(8).large_bodies, 2))


def test_short_bodies_of_few_values_hold_nothing(bodies: LargeBodies) -> None:
    for _ in range(20):
        body = bodies.of("acme")
        body.expect(LONG_BYTES)
        body.look_at(b'{"texts": ["a, b", "c"]}')


def test_a_tenant_has_few_long_ones_and_others_have_theirs(bodies: LargeBodies) -> None:
    held = [bodies.of("acme") for _ in range(2)]
    for body in held:
        body.expect(LONG_BYTES + 1)

    with pytest.raises(Unavailable):
        bodies.of("acme").expect(None)
    bodies.of("beta").expect(None)

    held[0].end()
    bodies.of("acme").expect(None)


def test_bodies_of_many_values_are_read_one_after_the_other(bodies: LargeBodies) -> None:
    first, second, began = bodies.of("acme"), bodies.of("beta"), threading.Event()
    first.look_at(MANY)

    def read() -> None:
        second.look_at(MANY)
        began.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert not began.wait(0.1)
    first.end()
    assert began.wait(5)
    second.end()
    thread.join()


def test_what_was_ended_is_ended_once(bodies: LargeBodies) -> None:
    body, other = bodies.of("acme"), bodies.of("acme")
    body.look_at(MANY)
    body.end()
    body.end()

    other.look_at(MANY)
    other.end()
