from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from polyseme.workers.analysis.sentences.phrases import name_places
from polyseme.workers.analysis.sentences.sentence import (
    VERBS,
    Sense,
    Tail,
    describe_tail,
    describe_unscored,
)
from polyseme.workers.analysis.sentences.spots import Spot
from tests.workers.analysis.sentences.made_up import spots, usual

USUAL = usual()


def places(words: str, each: int) -> list[Spot]:
    """Of words between "|", each so often, in different places."""
    marked = [f"x{w}{i} [{w}] y{i}{w}" for i in range(each) for w in words.split("|")]
    return spots(*marked)


def make_tail(senses: Mapping[str, float], left: str = "", **changes: Any) -> Tail:
    """The words of each sense with its share of all firing; one that begins with "?" is tentative,
    and those with the same letter before a ":" are of one broad sense. left: words in none.
    """
    found: list[Sense] = []
    broads: dict[str, int] = {}
    for key, share in senses.items():
        field, _, said = key.lstrip("?").rpartition(":")
        own = places(said, 6)
        broad = broads.setdefault(field or key, len(broads))
        found.append(Sense(share, not key.startswith("?"), broad, own, name_places(own, USUAL)))
    rest = places(left, 1) if left else []
    held = [spot for sense in found for spot in sense.spots]
    values: dict[str, Any] = {"standing": 0.99, "is_unrelated": True} | changes
    return Tail(rest + held, [False] * len(rest) + [True] * len(held), found, **values)


def describe(status: str, senses: Mapping[str, float], *args: Any, **changes: Any) -> str:
    return describe_tail(status, VERBS["positive"], make_tail(senses, *args, **changes), USUAL)


def test_several_senses_are_named_with_their_shares_of_all_firing() -> None:
    assert describe("polysemantic", {"May|June": 0.6, "bank": 0.3}) == (
        "Fires in this text for two unrelated things: “May” and “June” (60 %); and the word “bank” "
        "(30 %). The other 10 % is mixed."
    )


def test_only_what_the_measure_calls_unrelated_is_called_so() -> None:
    assert describe("polysemantic", {"may": 0.7, "bank": 0.3}, is_unrelated=False) == (
        "Fires in this text for two things: the word “may” (70 %); and the word “bank” (30 %)."
    )


def test_one_sense_is_one_thing() -> None:
    assert describe("monosemantic", {"an": 0.95}) == (
        "Fires in this text for one thing: the word “an” (95 %)."
    )


def test_senses_of_one_broad_one_are_one_thing_by_what_they_share() -> None:
    found = describe("polysemantic", {"a:of": 0.3, "a:upon": 0.2, "a:into": 0.2, "bank": 0.3})

    assert found.startswith(
        "Fires in this text for two unrelated things: prepositions such as “upon”, "
    )
    assert "(70 %)" in found


def test_what_of_one_broad_sense_shares_nothing_is_named_beside_each_other() -> None:
    assert describe("polysemantic", {"a:hut": 0.5, "a:gnat": 0.4}) == (
        "Fires in this text for one thing: “hut” and “gnat” (90 %). The other 10 % is mixed."
    )


def test_a_tentative_sense_is_no_thing_of_the_claim() -> None:
    assert describe("monosemantic", {"an": 0.9, "?gnat": 0.1}) == (
        "Fires in this text for one thing: the word “an” (90 %). Perhaps also for the word “gnat” "
        "(10 %)."
    )


def test_senses_of_one_name_are_one_thing() -> None:
    assert describe("polysemantic", {"a:and": 0.5, "b:and": 0.4}) == (
        "Fires in this text for one thing: the word “and” (90 %). The other 10 % is mixed."
    )


def test_what_is_only_described_is_no_claim_and_says_what_chance_does() -> None:
    usual = {"standing": 0.4}

    assert describe("described", {"an": 0.4, "?gnat": 0.1}, **usual) == (
        "In this text it fires for the word “an” (40 %). Perhaps also for the word “gnat” (10 %). "
        "The other 50 % is mixed. A random direction does as much."
    )
    assert describe("described", {"?an": 0.4}) == (
        "In this text it perhaps fires for the word “an” (40 %). The other 60 % is mixed."
    )


def test_a_partial_meaning_is_said() -> None:
    assert describe("described", {"an": 0.12}) == (
        "Mostly mixed in this text; in part for the word “an” (12 %)."
    )


def test_the_strongest_contexts_are_said_where_they_are_in_no_sense() -> None:
    found = describe("described", {"an": 0.4}, "hut|gnat|wasp|moth|flea|egg")

    assert found.endswith("None of these names its strongest contexts: “hut”, “gnat” and “wasp”.")


def test_without_senses_it_is_mixed_and_its_strongest_are_named() -> None:
    spread = Tail(places("hut|gnat|wasp|moth|flea|egg", 2), standing=0.99)
    of_place = Tail(spots(*[f"said [{w}{i}] y{i}" for i, w in enumerate("abcdefgh")]), (), ())

    assert describe_tail("described", "fires", spread, USUAL) == (
        "Mixed in this text; strongest at “hut”, “gnat” and “wasp”."
    )
    assert describe_tail("described", "fires", of_place, USUAL).startswith(
        "Mixed in this text, but mostly words after “said”"
    )


def test_more_things_than_can_be_named_are_counted() -> None:
    words = ("hut", "gnat", "wasp", "moth", "flea")
    found = describe("polysemantic", dict.fromkeys(words, 0.2))

    assert found.endswith("the word “wasp” (20 %); and two more (40 %).")


def test_without_control_units_there_is_nothing_to_compare_with() -> None:
    assert describe("described", {"an": 0.95}, standing=None).endswith(
        "There are no random directions to compare it with."
    )


def test_the_negative_tail_goes_below_zero() -> None:
    tail = make_tail({"an": 0.95})

    assert describe_tail("monosemantic", VERBS["negative"], tail, USUAL).startswith(
        "Goes below zero in this text for one thing: "
    )


@pytest.mark.parametrize(
    ("status", "fired", "said"),
    [
        ("insufficient_evidence", 3, "Too little evidence in this text: 3 contexts, and 10 are"),
        ("insufficient_evidence", 1, "Too little evidence in this text: 1 context, and 10 are"),
        ("insufficient_evidence", 0, "Never fired in this text."),
        ("not_finite", 0, "Its activations are not finite numbers: nothing can be said of it."),
    ],
)
def test_a_unit_of_which_nothing_can_be_said_says_why(status: str, fired: int, said: str) -> None:
    tail = Tail(places("an", fired) if fired else [])

    assert describe_tail(status, "fires", tail, USUAL).startswith(said)


def test_senses_that_were_not_asked_for_are_not_spoken_of() -> None:
    assert describe_unscored(12, is_lost=False) == "Senses were not asked for."
    assert describe_unscored(3, is_lost=False).startswith("Too little evidence")
    assert "not finite" in describe_unscored(12, is_lost=True)


def test_uses_of_one_word_are_told_apart_by_what_stands_near() -> None:
    def use(near: str, broad: int) -> Sense:
        own = spots(*[f"x{i} y{i} [bank] z{i} {near if i % 2 else 'v'}" for i in range(8)])
        return Sense(0.4, True, broad, own, name_places(own, USUAL))

    senses = [use("money", 0), use("shore", 1)]
    held = [spot for sense in senses for spot in sense.spots]
    tail = Tail(held, [True] * 16, senses, is_unrelated=True, standing=0.99)

    found = describe_tail("polysemantic", "fires", tail, USUAL)

    assert "the word “bank”, often near “money”" in found
    assert "the word “bank”, often near “shore”" in found


def test_senses_of_one_sort_are_one_thing_with_the_words_of_both() -> None:
    senses = {"a:of|upon|into|with": 0.5, "b:over|off|beside|within": 0.3}
    found = describe("polysemantic", senses)

    assert found.startswith("Fires in this text for one thing: prepositions such as “")
    assert "(80 %)" in found


def test_strong_contexts_of_other_words_than_those_named_are_said() -> None:
    own = [*places("ways", 3), *places("by", 9)]
    sense = Sense(0.9, True, 0, own, name_places(own, USUAL))
    tail = Tail(own, [sense.name.speaks_of(s) for s in own], [sense], standing=0.99)

    found = describe_tail("monosemantic", "fires", tail, USUAL)

    assert "the word “by” (90 %)" in found
    assert found.endswith("None of these names its strongest contexts: “ways”.")
