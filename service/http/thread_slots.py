"""How many of the server's threads may be held by clients who let it wait.

Knows nothing of why they do.

A client that waits for a job, one that follows its events, one whose body comes slowly and one that
reads a long answer slowly each hold a thread, and so does a large upload until it is read. Each
kind has at most half of the threads and all together three quarters, so some are always left for
everything else.
"""

from __future__ import annotations

import threading
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


def share_threads(threads: int) -> Shares:
    half, shared = max(threads // 2, 1), threading.Semaphore(max(threads * 3 // 4, 1))
    return Shares(*(ThreadSlots(half, shared) for _ in range(4)))
