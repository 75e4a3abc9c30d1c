from __future__ import annotations

import pytest

from benchmarks.sentences import find_misquoted, quoted_in, stands_in

TEXT = "Into thine hand, for U.S. courts don't falleth; 50,000 of the World's ends."


@pytest.mark.parametrize(
    "word", ["thine", "U.S.", "don't", "50,000", "World's", ",", "-eth", "fall-", "ends"]
)
def test_a_word_of_the_text_stands_in_it(word: str) -> None:
    assert stands_in(word, TEXT)


@pytest.mark.parametrize("word", ["ine", "Thine", "court", "don", "t", "fall", "-thi", "orld-"])
def test_a_piece_or_another_case_does_not(word: str) -> None:
    assert not stands_in(word, TEXT)


def test_each_quotation_is_found_also_that_of_a_quotation_mark() -> None:
    assert list(quoted_in("for “May” and “June”; and the sign “””.")) == ["May", "June", "”"]


def test_sentences_are_named_with_what_they_misquote() -> None:
    sentences = ["for “thine” and “ine”", "for “ends”"]

    assert find_misquoted(sentences, [TEXT]) == [("for “thine” and “ine”", "ine")]
