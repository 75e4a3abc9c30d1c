"""Values that several threads share, the ones used last, up to a total weight."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from cachetools import LRUCache

T = TypeVar("T")


class SharedLru(Generic[T]):
    """Thread-safe; a value may be made twice, which harms nothing."""

    def __init__(self, most: int, weigh: Callable[[T], int] = lambda _: 1) -> None:
        # A value that is too heavy is kept all the same, alone: somebody reads it now.
        self._values: Any = LRUCache(most, getsizeof=lambda value: min(weigh(value), most))
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        with self._lock:
            if key in self._values:
                return self._values[key]
        value = make()
        with self._lock:
            return self._values.setdefault(key, value)

    @property
    def weight(self) -> int:
        with self._lock:
            return int(self._values.currsize)

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._values

    def drop(self, is_unwanted: Callable[[Any], bool]) -> None:
        """Whatever has such a key."""
        with self._lock:
            for key in [key for key in self._values if is_unwanted(key)]:
                del self._values[key]
