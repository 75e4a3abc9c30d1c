"""How often what is seen at a place is seen at random places of the same corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

from polyseme.workers.analysis.sentences.spots import Spot

# What may be said of a place, by name; None or False says nothing.
SIGHTS: dict[str, Callable[[Spot], Any]] = {
    "key": attrgetter("own.key"),
    "before": attrgetter("before_key"),
    "after": attrgetter("after_key"),
    "opens": attrgetter("opens"),
    "shape": attrgetter("own.shape"),
    "class": attrgetter("own.word_class"),
    "wider class": attrgetter("own.wider_class"),
    "class before": attrgetter("class_before"),
    "class after": attrgetter("class_after"),
    "long beginning": attrgetter("own.long_beginning"),
    "beginning": attrgetter("own.beginning"),
    "first letter": attrgetter("own.first_letter"),
    "ending": attrgetter("own.ending"),
    "short ending": attrgetter("own.short_ending"),
}
NEAR = "near"

Found = tuple[Any, float]  # what is seen, and at which share of some places


class Usual:
    """Of random places."""

    def __init__(self, spots: Sequence[Spot]) -> None:
        self._places = len(spots)
        self._counts = {name: Counter(map(see, spots)) for name, see in SIGHTS.items()}
        self._counts[NEAR] = Counter(key for s in spots for key in s.near_keys)

    def share(self, sight: str, value: Any) -> float:
        """Above 0 also for what no random place has."""
        return float((self._counts[sight][value] + 0.5) / (self._places + 1))

    def lift(self, sight: str, value: Any, share: float) -> float:
        """How many times as often it is seen where `share` of the places have it."""
        return share / self.share(sight, value)


def count_sights(spots: Sequence[Spot], sight: str) -> Counter[Any]:
    """Without those that say nothing, in the order of the places where they are as common."""
    counts = Counter(map(SIGHTS[sight], spots))
    del counts[None], counts[False]
    return counts


def commonest(spots: Sequence[Spot], sight: str) -> Found | None:
    """What most places have in common."""
    return _commonest(map(SIGHTS[sight], spots), len(spots))


def commonest_near(spots: Sequence[Spot]) -> Found | None:
    return _commonest((key for s in spots for key in s.near_keys), len(spots))


def _commonest(seen: Iterable[Any], places: int) -> Found | None:
    told = [value for value in seen if value is not None and value is not False]
    if not told:
        return None
    value, count = most_of(told)
    return value, count / places


def most_of(values: Iterable[Any]) -> tuple[Any, int]:
    """The commonest of some values, at least one, the first of those as common; and how many it is.

    Called for everything that is said of a sense: several times as fast as a Counter of so few.
    """
    counts: dict[Any, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    found = max(counts, key=counts.__getitem__)
    return found, counts[found]
