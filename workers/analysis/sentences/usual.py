"""How often what is seen at a place is seen at random places of the same corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from polyseme.workers.analysis.sentences.spots import (
    Spot,
    class_of,
    key_of,
    wider_class_of,
)

# What may be said of a place, by name; None or False says nothing.
SIGHTS: dict[str, Callable[[Spot], Any]] = {
    "key": lambda s: s.key or None,
    "before": lambda s: None if s.before is None else key_of(s.before),
    "after": lambda s: None if s.after is None else key_of(s.after),
    "opens": lambda s: s.opens,
    "shape": lambda s: s.shape or None,
    "class": lambda s: class_of(s.key),
    "wider class": lambda s: wider_class_of(s.key),
    "class before": lambda s: class_of(s.before),
    "class after": lambda s: class_of(s.after),
    "long beginning": lambda s: s.key[:3] if len(s.key) > 3 and s.key.isalpha() else None,
    "beginning": lambda s: s.key[:2] if len(s.key) > 2 and s.key.isalpha() else None,
    "first letter": lambda s: s.key[:1] if len(s.key) > 1 and s.key.isalpha() else None,
    "ending": lambda s: s.key[-3:] if len(s.key) > 4 and s.key.isalpha() else None,
    "short ending": lambda s: s.key[-2:] if len(s.key) > 3 and s.key.isalpha() else None,
}
NEAR = "near"

Found = tuple[Any, float]  # what is seen, and at which share of some places


class Usual:
    """Of random places."""

    def __init__(self, spots: Sequence[Spot]) -> None:
        self._places = len(spots)
        self._counts = {name: Counter(map(see, spots)) for name, see in SIGHTS.items()}
        self._counts[NEAR] = Counter(key for s in spots for key in keys_near(s))

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
    counts = count_sights(spots, sight)
    return _first(counts.most_common(1), len(spots))


def commonest_near(spots: Sequence[Spot]) -> Found | None:
    counts = Counter(key for s in spots for key in sorted(keys_near(s)))
    return _first(counts.most_common(1), len(spots))


def keys_near(spot: Spot) -> set[str]:
    return set(map(key_of, spot.near))


def _first(found: Iterable[tuple[Any, int]], places: int) -> Found | None:
    return next(((value, count / places) for value, count in found), None)
