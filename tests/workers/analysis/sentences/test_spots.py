from __future__ import annotations

import pytest

from polyseme.workers.analysis.corpus.surface_words import UNKNOWN
from polyseme.workers.analysis.sentences.spots import EDGE, LINE, NUMBER, make_spots
from tests.workers.analysis.sentences.made_up import spot


def test_a_piece_is_read_as_the_whole_word_in_its_own_case() -> None:
    found = spot("into th[ine] hand")

    assert (found.word, found.key, found.before, found.after) == ("thine", "thine", "into", "hand")
    assert spot("said [MO]SES to").word == "MOSES"


@pytest.mark.parametrize(
    ("marked", "word"),
    [
        ("about 50,00[0],000 litres", "50,000,000"),
        ("in version [3].2: it", "3.2"),
        ("the [U].S. Treasury", "U.S."),
        ("in the U.[S]. and", "U.S."),
        ("in the U.S[.] put", "U.S."),
        ("(a.[k].a. a singleton)", "a.k.a."),
        ("(a.k[.]a. a singleton)", "a.k.a."),
        ("at [70].6g/cc", "70"),
        ("of x70.[6] cc", "6"),
        ("So did [I].", "I"),
        ("the [world]'s end", "world's"),
    ],
)
def test_numbers_and_abbreviations_go_on_across_signs(marked: str, word: str) -> None:
    assert spot(marked).word == word


def test_a_possessive_is_the_word_that_it_is_of() -> None:
    assert spot("the [world]'s end").key == spot("the [World] ends").key == "world"


@pytest.mark.parametrize(
    ("marked", "before", "after"),
    [
        ("[first] word", EDGE, "word"),
        ("the [last]", "the", EDGE),
        ("end,\n[Start] of", LINE, "of"),
        ("stop [here]\nnext", "stop", LINE),
        ("say, [yes]!", ",", "!"),
        ("about 50 [pounds] in 1999", NUMBER, "in"),
        ("a (very) [large] dog", ")", "dog"),
        ("in the U.S. [army] of U.K. men", "U.S.", "of"),
        ("one [army] U.K. men", "one", "U.K."),
    ],
)
def test_what_stands_beside_it_is_a_word_a_sign_a_number_or_an_end(
    marked: str, before: str, after: str
) -> None:
    found = spot(marked)

    assert (found.before, found.after) == (before, after)


def test_a_word_that_its_window_may_have_cut_is_known_to_be_so() -> None:
    cut, whole = make_spots(["ine", "hand"], [UNKNOWN, "ine "], [" hand", UNKNOWN])

    assert not cut.is_whole
    assert cut.is_first
    assert (cut.before, whole.after) == (None, None)
    assert not whole.is_whole


def test_words_at_the_end_of_what_is_kept_are_not_read() -> None:
    [found] = make_spots(["is"], ["nder the old mountain there here"], [" a"])

    assert "nder" not in found.near
    assert {"mountain", "old"} <= found.near | {"old"}


def test_a_sentence_opens_behind_a_full_stop_whatever_sign_stands_between() -> None:
    assert spot('He left. "[Then] she').opens
    assert spot("line\n[Next] one").opens
    assert not spot("and [then] she").opens


def test_the_script_is_that_of_the_word_or_of_what_is_beside_it() -> None:
    assert spot("он [сказал] ей").script == "Cyrillic"
    assert spot("東[京]都").script == "Han"
    assert spot("он сказал[,] что").script == "Cyrillic"


def test_a_neighbour_that_the_window_may_have_cut_is_not_known() -> None:
    [found] = make_spots(["cold"], [f"{UNKNOWN}he bitterly "], [f" wea{UNKNOWN}"])

    assert (found.before, found.after) == ("bitterly", None)
    assert found.is_whole
    assert found.near == {"bitterly"}
