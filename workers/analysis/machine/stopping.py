"""How the wish to stop reaches the work: a plain callable, asked often.

Knows nothing of who wishes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from polyseme.contract.errors import Cancelled

Stop = Callable[[], bool]
Item = TypeVar("Item")


def never() -> bool:
    return False


def check_stop(should_stop: Stop) -> None:
    """Raises Cancelled."""
    if should_stop():
        raise Cancelled


def until(items: Iterable[Item], should_stop: Stop) -> Iterator[Item]:
    """The items, asking before each. Raises Cancelled."""
    for item in items:
        check_stop(should_stop)
        yield item
