"""How many of the server's threads may be held by clients who let it wait. Knows nothing of why they do.

A client that waits for a job, one that follows its events and one whose body comes slowly each hold a thread. Each kind
has at most half of the threads and all together three quarters, so some are always left for everything else.
"""

from __future__ import annotations

import threading


class Places:
    """Those of one kind. Thread-safe."""

    def __init__(self, most: int, shared: threading.Semaphore) -> None:
        self._own = threading.Semaphore(most)
        self._shared = shared

    def take(self) -> bool:
        """Whether there was one. Who has taken one gives it back with `leave`."""
        if not self._own.acquire(blocking=False):
            return False
        if self._shared.acquire(blocking=False):
            return True
        self._own.release()
        return False

    def leave(self) -> None:
        self._shared.release()
        self._own.release()


def share_places(threads: int) -> tuple[Places, Places]:
    """For clients who wait for jobs, and for bodies."""
    half, shared = max(threads // 2, 1), threading.Semaphore(max(threads * 3 // 4, 1))
    return Places(half, shared), Places(half, shared)
