"""Whether a store is there at all, and the one that is meant.

A file at its root says which store it is. Without it nothing is written or deleted, and nothing is
said not to be there: a folder on which nothing is mounted looks like a store that lost everything.
Knows no board: whoever opens the store says which it is to be.
"""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

IDENTITY_FILE = "polyseme-store.json"
_NOTE = "Without this file Polyseme writes and deletes nothing here."


class StoreError(OSError):
    """What is wrong with the store, in a sentence.

    It has a number, as what the disk itself says has: an error without one is a file's.
    """

    def __init__(self, message: str) -> None:
        super().__init__(errno.EIO, message)

    def __str__(self) -> str:
        return str(self.strerror)


class StoreAway(StoreError):
    """What lies at the store's place is no store now."""


class OtherStore(StoreAway):
    """The store there belongs to another board."""


@dataclass(frozen=True)
class Identity:
    id: str
    is_new: Callable[[], bool]  # asked where there is no file: whether there never was one
    note_made: Callable[[], None]  # called once the file is seen; `is_new` is false from then on


class Guard:
    """Thread-safe. Says whether the store is the one that is meant."""

    def __init__(
        self,
        identity: Identity,
        read: Callable[[], bytes | None],
        create: Callable[[bytes], None],
        *,
        believed_s: float,
    ) -> None:
        """read: the file, or None; create: writes it unless another did; believed_s: for how long
        a look holds.
        """
        self._identity = identity
        self._read = read
        self._create = create
        self._believed_s = believed_s
        self._lock = threading.Lock()
        self._is_noted = False
        self._good_until = 0.0  # of the monotonic clock

    def check(self) -> None:
        """Raises StoreAway, and whatever else the store raises when it is read."""
        if time.monotonic() < self._good_until:
            return
        found = self._read()
        if found is None:
            found = self._make_first()
        if (there := _read_id(found)) != self._identity.id:
            raise OtherStore(
                f"the store belongs to another Redis: its {IDENTITY_FILE} has the id {there!r}, "
                f"not {self._identity.id!r}"
            )
        if not self._is_noted:
            self._identity.note_made()
            self._is_noted = True
        self._good_until = time.monotonic() + self._believed_s

    def _make_first(self) -> bytes:
        with self._lock:
            if not self._identity.is_new():
                raise StoreAway(
                    f"there is no {IDENTITY_FILE} in the store: it is not mounted, or is another"
                )
            self._create(_format(self._identity.id))
            found = self._read()
        if found is None:
            raise StoreAway(f"the {IDENTITY_FILE} that was written is not in the store")
        return found


def _format(identity: str) -> bytes:
    return json.dumps({"store": identity, "note": _NOTE}, indent=1).encode() + b"\n"


def _read_id(content: bytes) -> str:
    """The id, or "" for what is no such file."""
    try:
        found = json.loads(content)
    except ValueError:
        return ""
    return str(found.get("store", "")) if isinstance(found, dict) else ""
