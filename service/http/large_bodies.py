"""Bodies that take a while to read: few are at hand at once, and few of one tenant.

A long one has a thread's slot before it is received. Then it has its turn, and so has a short one
of many values: reading it keeps Python's lock from everybody else's request, so one after the other
is read and checked.
"""

from __future__ import annotations

import threading
from typing import Final

from polyseme.contract.errors import Unavailable
from polyseme.service.http.thread_slots import TenantSlots

LONG_BYTES: Final = 64 << 10
MANY_VALUES: Final = 4000  # a few milliseconds


class LargeBodies:
    """Of all requests of a process. Thread-safe."""

    def __init__(self, slots: TenantSlots) -> None:
        self._slots = slots
        self._turn = threading.Lock()

    def of(self, tenant: str) -> LargeBody:
        """For one request."""
        return LargeBody(self._slots, self._turn, tenant)


class LargeBody:
    """What one request holds on account of its body, until `end`. Used by one thread."""

    def __init__(self, slots: TenantSlots, turn: threading.Lock, tenant: str) -> None:
        self._slots = slots
        self._turn = turn
        self._tenant = tenant
        self._has_slot = False
        self._has_turn = False

    def expect(self, size: int | None) -> None:
        """Before a body of so many bytes is received; None: it does not say how many.

        Raises Unavailable.
        """
        if size is None or size > LONG_BYTES:
            self._take_slot()

    def look_at(self, body: bytes) -> None:
        """Before it is parsed: waits for its turn, if it needs one. Raises Unavailable."""
        # Each value but the first stands behind one of these. So do parts of texts. A long one is
        # not looked through: that alone takes a while.
        if len(body) > LONG_BYTES or body.count(b",") + body.count(b"\n") > MANY_VALUES:
            self._take_slot()
            self._turn.acquire()
            self._has_turn = True

    def end(self) -> None:
        """Once it is read and checked. May be called again."""
        if self._has_turn:
            self._turn.release()
        if self._has_slot:
            self._slots.release(self._tenant)
        self._has_turn = self._has_slot = False

    def _take_slot(self) -> None:
        if self._has_slot:
            return
        if not self._slots.acquire(self._tenant):
            raise Unavailable("too many large bodies are being read; try again", retry_after_s=2)
        self._has_slot = True
