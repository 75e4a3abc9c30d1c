from __future__ import annotations

from polyseme.service.results.lru import SharedLru


def test_what_was_used_longest_ago_goes_first() -> None:
    kept: SharedLru[str] = SharedLru(2)
    made: list[str] = []

    def get(key: str) -> None:
        kept.get(key, lambda: made.append(key) or key)  # type: ignore[func-returns-value]

    for key in "abacab":
        get(key)

    assert made == ["a", "b", "c", "b"]


def test_what_is_too_heavy_is_kept_alone() -> None:
    kept: SharedLru[str] = SharedLru(10, len)

    kept.get("a", lambda: "light")
    kept.get("b", lambda: "much too heavy")

    assert ("a" in kept, "b" in kept) == (False, True)


def test_what_is_dropped_is_made_again() -> None:
    kept: SharedLru[int] = SharedLru(9)
    for key in (1, 2, 3):
        kept.get(key, lambda: 0)

    kept.drop(lambda key: key > 1)

    assert [kept.get(key, lambda: 1) for key in (1, 2, 3)] == [0, 1, 1]
