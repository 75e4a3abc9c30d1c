from __future__ import annotations

import pytest

from polyseme.workers.analysis.corpus.surface_words import (
    UNKNOWN,
    sides_of,
    word_at,
    word_span,
)


def word_of(marked: str) -> str:
    """Of a text with the span between brackets."""
    start, end = marked.index("["), marked.index("]") - 1
    return word_at(marked.replace("[", "").replace("]", ""), start, end)


@pytest.mark.parametrize(
    ("marked", "word"),
    [
        ("the[ court]s of law", "courts"),
        ("the co[urt] of law", "court"),
        ("[ the]", "the"),
        ("law-[-the] court", "the"),
        ("l[aw]--the", "law"),
        ("a state[-of]-the-art case", "of"),
        ("I do[n't] know", "don't"),
        ("I do[n’t] know", "don’t"),
        ("'[they]' said", "they"),
        ("the boys[' dogs]", "dogs"),
        ("the[ boys]' dogs", "boys"),
        ("in 19[99], he", "1999"),
        ("snake_[case]", "case"),
        ("İstanbul'[da] idi", "İstanbul'da"),
        ("xin chào Vi[ệt] Nam", "Việt"),
        ("cafe\u0301 [e\u0301te]\u0301", "e\u0301te\u0301"),
    ],
)
def test_the_word_is_the_whole_run_of_letters_around_the_span(marked: str, word: str) -> None:
    assert word_of(marked) == word


@pytest.mark.parametrize(
    ("marked", "word"),
    [
        ("東[京]都に行く", "京"),
        ("[東京]都", "東京"),
        ("これ[は。]それ", "は"),
        ("[コー]ヒー", "コー"),
        ("ภา[ษา]ไทย", "ษา"),
        ("ភា[សា]", "សា"),
        ("iPhone[を]買う", "を"),
        ("新[iPho]neを買う", "iPhone"),
    ],
)
def test_of_a_script_without_spaces_it_is_what_the_span_has_of_it(marked: str, word: str) -> None:
    assert word_of(marked) == word


@pytest.mark.parametrize(
    ("marked", "word"),
    [
        ("law[--]the", "--"),
        ("law[ (]the", "("),
        ("I don[']t", "'"),
        ("so[ ❤\ufe0f]!", "❤\ufe0f"),
        ("a[ \n ]b", ""),
        ("ab[]cd", ""),
        ("[\ufffd]", "\ufffd"),
    ],
)
def test_a_span_without_letters_is_its_own_word(marked: str, word: str) -> None:
    assert word_of(marked) == word


def test_of_several_words_in_the_span_it_is_the_last() -> None:
    assert word_of("out[ of the] court") == "the"
    assert word_of("out[ of t]he court") == "the"
    assert word_of("out[ of the, ]court") == "the"


def test_a_mark_of_a_word_gives_the_word() -> None:
    assert word_of("हि[न्दी] में") == "हिन्दी"
    assert word_of("हिन्द[ी] में") == "हिन्दी"
    assert word_of("می\u200c[خواهم] که") == "می\u200cخواهم"


def test_beside_a_word_stand_the_characters_up_to_a_reach_and_a_mark_where_the_text_goes_on() -> (
    None
):
    text = f"{'x' * 40} a word here"
    span = word_span(text, 43, 47)

    assert sides_of(text, span) == (f"{'x' * 29} a ", " here")
    assert sides_of(text, span, ends=False) == (f"{'x' * 29} a ", f" here{UNKNOWN}")
    assert sides_of("cut", (0, 3), begins=False, ends=False) == (UNKNOWN, UNKNOWN)
    assert sides_of("whole", (0, 5)) == ("", "")
