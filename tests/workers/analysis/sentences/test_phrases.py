from __future__ import annotations

import pytest

from polyseme.workers.analysis.sentences.phrases import name_places
from tests.workers.analysis.sentences.made_up import spots, usual

USUAL = usual()


def name(*marked: str) -> str:
    return name_places(spots(*marked), USUAL).text


def test_one_word_is_named_with_the_neighbour_that_most_have() -> None:
    places = [f"{a} there [is] {b}" for a in ("and", "so", "for") for b in ("no", "one", "a")]

    assert name(*places) == "the word “is” after “there”"


def test_both_neighbours_are_named_where_most_have_them() -> None:
    assert name(*[f"{w} in [the] world of {w}" for w in "abcdef"]) == (
        "the word “the” after “in” and before “world”"
    )


def test_a_word_keeps_its_case() -> None:
    assert name(*[f"said [Moses] {w}" for w in ("to", "in", "then")]) == (
        "the word “Moses” after “said”"
    )


def test_a_few_words_that_are_all_there_is_are_named_alone() -> None:
    places = [f"{a} [{w}] {b}" for w in ("call", "name") for a, b in ("xa", "by", "cz")]

    assert name(*places) == "“call” and “name”"


def test_a_class_of_words_is_called_by_its_name() -> None:
    words = ("of", "upon", "into", "among", "of", "with", "behind")
    places = [f"x{i} [{word}] y{i}" for i, word in enumerate(words)]

    assert name(*places).startswith("prepositions such as “")


def test_words_that_set_the_sense_apart_come_before_those_that_are_everywhere() -> None:
    words = ("flea", "the", "flea", "beetle", "the", "egg", "moth", "of", "wasp", "gnat")
    found = name_places(spots(*[f"x{i} [{w}] y{i}" for i, w in enumerate(words)]), USUAL)

    assert found.text.startswith("words such as “flea”, “")
    assert "the" not in found.examples


def test_what_holds_for_most_is_said_before_words_that_stand_there_once() -> None:
    places = [f"born in [{w}] and" for w in ("Rome", "Paris", "Oslo", "Cairo", "Lima")]

    assert name(*places).startswith("capitalised words after “in” and before “and”, such as “")


def test_words_of_one_ending_are_said_to_be_so() -> None:
    words = ("sitteth", "burneth", "causeth", "keepeth", "goeth", "dwelleth")
    places = [f"he{i} [{word}] it{i}" for i, word in enumerate(words)]

    assert name(*places).startswith("words ending in “-eth” such as “sitteth”")


@pytest.mark.parametrize(
    ("places", "named"),
    [
        (["x\n[First] a", "y\n[Second] b", "z\n[Third] c", "v\n[Fourth] d"], "start of a line"),
        (["x [one]\na", "y [two]\nb", "z [six]\nc", "u [red]\nd"], "at the end of a line"),
        (["[It] a", "[Two] b", "[We] c"], "the start of a text"),
        (["x[\n]y", "z[\n]v"], "line breaks"),
        (["up to[ ]40 x", "over[ ]365 days", "about[ ]7"], "blank space before a number"),
        (["a[,] b", "c[,] d"], "the sign “,”"),
        (["in 1[9]98 a", "in [2004] b", "by 17[0]6 c", "of 1811 d [1811]"], "years"),
        (["a 50,0[0]0 b", "c [7] d", "e [18] f", "g [33] h"], "numbers"),
        (["x [сказал] y", "z [дом] u", "a [река] b"], "words in Cyrillic letters"),
    ],
)
def test_what_is_no_word_or_is_known_by_its_place_is_called_so(
    places: list[str], named: str
) -> None:
    assert named in name(*places)


def test_a_word_that_may_be_cut_is_not_quoted() -> None:
    whole, cut = spots("a [house] b", "a [hut] b")
    from dataclasses import replace

    found = name_places([replace(cut, is_whole=False)] * 2 + [whole], USUAL)

    assert "hut" not in found.text


def test_a_neighbour_that_only_many_have_is_said_to_be_often_there() -> None:
    places = [f"the Lord [said] {w}" for w in "abcde"] + [f"he{w} [said] {w}" for w in "fghij"]

    assert name(*places) == "the word “said”, often after “Lord”"


def test_words_of_one_beginning_are_said_to_be_so() -> None:
    words = ("Gnash", "Giraffe", "graving", "grolar", "grawlix", "Gorbachev")

    assert name(*[f"x{i} [{word}] y{i}" for i, word in enumerate(words)]).startswith(
        "words beginning with “g-” such as “"
    )
