"""How many of the server's threads may be held by clients who let it wait.

Knows nothing of why they do.

A client that waits for a job, one that follows its events, one whose body comes slowly and one that
reads a long answer slowly each hold a thread, and so do a large upload and any other large body
until they are read. Each kind has at most half of the threads and all together three quarters, so
some are always left for everything else.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

SERVER_KEY: Final = "polyseme.server"  # of `ServerHooks` in a Flask application's extensions


class ThreadSlots:
    """Those of one kind. Thread-safe."""

    def __init__(self, most: int, shared: threading.Semaphore) -> None:
        self._own = threading.Semaphore(most)
        self._shared = shared

    def acquire(self) -> bool:
        """Whether there was one. Never waits."""
        if not self._own.acquire(blocking=False):
            return False
        if self._shared.acquire(blocking=False):
            return True
        self._own.release()
        return False

    def release(self) -> None:
        """Gives one back that `acquire` had."""
        self._shared.release()
        self._own.release()


class TenantSlots:
    """Slots of one kind, of which a tenant has at most so many. Thread-safe."""

    def __init__(self, slots: ThreadSlots, most_of_one: int) -> None:
        self._slots = slots
        self._most_of_one = most_of_one
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()  # by tenant

    def acquire(self, tenant: str) -> bool:
        """Whether there was one for it. Never waits."""
        with self._lock:
            is_granted = self._held[tenant] < self._most_of_one and self._slots.acquire()
            self._held[tenant] += is_granted
        return is_granted

    def release(self, tenant: str) -> None:
        """Gives one back that `acquire` had."""
        self._slots.release()
        with self._lock:
            self._held[tenant] -= 1
            if not self._held[tenant]:
                del self._held[tenant]


@dataclass(frozen=True)
class ServerHooks:
    """What gunicorn's worker needs of the application that it runs."""

    bodies: ThreadSlots  # for requests whose bodies come slowly
    readers: ThreadSlots  # for answers that are read slowly
    end_waits: Callable[[], None]  # called in a signal handler when the process is to end


@dataclass(frozen=True)
class Shares:
    """Of one process' threads, for each kind of waiting."""

    waits: ThreadSlots  # for jobs
    bodies: ThreadSlots
    readers: ThreadSlots  # of answers
    uploads: ThreadSlots  # until they are read
    large_bodies: ThreadSlots  # other bodies, until they are read and checked


def share_threads(threads: int) -> Shares:
    half, shared = max(threads // 2, 1), threading.Semaphore(max(threads * 3 // 4, 1))
    return Shares(*(ThreadSlots(half, shared) for _ in range(5)))
