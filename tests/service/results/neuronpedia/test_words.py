from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from polyseme.service.results.neuronpedia.words import cut_words, find_plain, quote_words

Span = tuple[int, int] | None


@pytest.mark.parametrize(
    ("text", "spans", "peak", "words"),
    [
        ("the dog", [(0, 3), (3, 7)], 0, ["the", " dog"]),
        ("The dog", [None, (0, 3), (4, 7), None], 1, [None, "The", " dog", None]),
        ("日x", [(0, 1), (0, 1), (0, 1), (1, 2)], 3, ["日", "", "", "x"]),
        ("日x", [(0, 1), (0, 1), (0, 1), (1, 2)], 1, ["", "日", "", "x"]),
        ("a 日", [(0, 1), (2, 3), (2, 3)], 2, ["a", " ", "日"]),
        ("日本", [(0, 1), (0, 2), (1, 2)], 2, ["日", "", "本"]),
        ("ab", [None, (0, 2)], 0, [None, "ab"]),
    ],
)
def test_words_are_the_text_one_after_the_other(
    text: str, spans: list[Span], peak: int, words: list[Any]
) -> None:
    starts, ends = ([s and s[i] for s in spans] for i in (0, 1))

    found = cut_words(text, starts, ends, peak)

    assert found == words
    assert "".join(word or "" for word in found) == text


def test_what_stands_for_nothing_keeps_its_own_text() -> None:
    assert quote_words(['a"', None], ['"x"', '"<s>"']) == ['"a\\""', '"<s>"']


def test_contexts_whose_tokens_read_as_the_document_stay_as_they_are() -> None:
    tokens = pa.array([[0, 1, 2], [1, 2], [2]])
    spoken = pa.array(["", "the", " dog"]).take(tokens.flatten())

    assert find_plain(tokens, pa.array(["the dog", "The dog", " dog"]), spoken) == [
        True,
        False,
        True,
    ]
    assert find_plain(tokens[1:], pa.array(["the dog", " dog"]), spoken[3:]) == [True, True]
