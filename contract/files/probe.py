"""Whether the store works: a file is written to it, read again and removed.

A store that hangs holds one thread of this module's, however many ask.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from contextlib import suppress

from polyseme.contract.files.identity import StoreError
from polyseme.contract.files.store import Store

FOLDER = "probes"
_BYTES = 64 << 10  # an empty file would fit on a full disk


class StoreProbe:
    """Thread-safe. All who ask while a probe runs get its answer."""

    def __init__(self, store: Store, *, wait_s: float, keep_s: float = 0.0) -> None:
        """wait_s: until a probe counts as failed; keep_s: for which its answer is given again."""
        self._store = store
        self._wait_s = wait_s
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._last: _Attempt | None = None

    def ask(self) -> str | None:
        """Why the store does not work, without a path; None when it does."""
        with self._lock:
            attempt = self._last
            if attempt is None or attempt.is_older_than(self._keep_s):
                attempt = self._last = _Attempt(self._store)
        return attempt.result(self._wait_s)


class _Attempt:
    def __init__(self, store: Store) -> None:
        self._began = time.monotonic()
        self._ended: float | None = None
        self._done = threading.Event()
        self._why: str | None = None
        threading.Thread(target=self._run, args=(store,), name="store probe", daemon=True).start()

    def is_older_than(self, seconds: float) -> bool:
        """False while it runs."""
        return self._ended is not None and time.monotonic() - self._ended >= seconds

    def result(self, wait_s: float) -> str | None:
        if self._done.wait(max(self._began + wait_s - time.monotonic(), 0.0)):
            return self._why
        return f"it has not answered for {time.monotonic() - self._began:.0f} s"

    def _run(self, store: Store) -> None:
        try:
            _try_out(store)
        except Exception as e:
            self._why = describe_trouble(e)
        finally:
            self._ended = time.monotonic()
            self._done.set()


def _try_out(store: Store) -> None:
    path, content = f"{FOLDER}/{secrets.token_hex(8)}", secrets.token_bytes(_BYTES)
    try:
        store.write(path, content)
        if store.read(path) != content:
            raise StoreError("a file that was just written reads otherwise")
    except BaseException:
        with suppress(Exception):
            store.delete(path)
        raise
    store.delete(path)


def describe_trouble(error: BaseException) -> str:
    """An error of the store in a few words, without a path."""
    if isinstance(error, StoreError):
        return str(error)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return type(error).__name__
