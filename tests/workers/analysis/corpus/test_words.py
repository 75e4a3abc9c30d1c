from __future__ import annotations

import re
import string
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from polyseme.workers.analysis.corpus.words import is_wordpiece, peak_words
from polyseme.workers.analysis.models.token_texts import read_vocabulary
from polyseme.workers.analysis.models.tokens import tokenize
from tests.tiny_models import bos_tokenizer, framed_tokenizer, plain_tokenizer

TEXT = (
    "The court (of law) heard 12 state-of-the-art cases,  and\nprices: 'they' -- rose by 3.5 "
    "% in the U.S. again..."
)


def words_of(tokens: list[str], peak: int, special: tuple[int, ...] = ()) -> str:
    """The word at one peak, every token with an id of its own."""
    [word] = peak_words(
        np.arange(len(tokens), dtype=np.int32)[None], np.array([peak]), tokens, special
    )
    return word


def every_word(tokenizer: Any, text: str) -> list[str]:
    """The word of each token of a text."""
    [(ids, _, _)] = tokenize(tokenizer, [text])
    texts = read_vocabulary(tokenizer.backend_tokenizer, max(tokenizer.get_vocab().values()) + 1)
    return peak_words(np.tile(ids, (len(ids), 1)), np.arange(len(ids)), texts)


def word_at(text: str, start: int, end: int) -> str:
    """Plainly, from the characters: the word of a token that stands there."""
    token = text[start:end]
    if not any(c.isalnum() for c in token):
        return token.strip() or token
    end -= len(token) - len(token.rstrip())
    [word] = [m.group() for m in re.finditer(r"\S+", text) if m.start() < end <= m.end()]
    return word.strip(string.punctuation)


@pytest.mark.parametrize("make", [plain_tokenizer, bos_tokenizer])
def test_every_token_of_a_text_has_the_word_that_its_characters_stand_in(
    make: Callable[[], Any],
) -> None:
    tokenizer = make()
    [(_, starts, ends)] = tokenize(tokenizer, [TEXT])

    words = every_word(tokenizer, TEXT)

    expected = [word_at(TEXT, int(a), int(b)) for a, b in zip(starts, ends, strict=True)]
    assert {
        "court",
        "law",
        "12",
        "state-of-the-art",
        "cases",
        "they",
        "3.5",
        "U.S",
        "%",
        "(",
    } <= set(words)
    # A tokenizer of the SentencePiece kind may put a space before the text that is not in it.
    assert words[1:] == expected[1:]


def test_wordpiece_tokens_say_themselves_what_goes_on_with_a_word() -> None:
    words = every_word(framed_tokenizer(), "Courtly prices, neuronal; #1.")

    assert list(dict.fromkeys(words)) == ["courtly", "prices", ",", "neuronal", ";", "#", "1", "."]


@pytest.mark.parametrize(
    ("make", "expected"),
    [(plain_tokenizer, False), (bos_tokenizer, False), (framed_tokenizer, True)],
)
def test_a_vocabulary_tells_whether_it_is_wordpiece(
    make: Callable[[], Any], expected: bool
) -> None:
    assert is_wordpiece(read_vocabulary(make().backend_tokenizer, 400)) == expected


@pytest.mark.parametrize(
    ("tokens", "peak", "word"),
    [
        ([" an", "ti", "dote"], 1, "antidote"),
        ([" an", "ti", " dote"], 1, "anti"),
        ([' "', "May", ',"', " he"], 1, "May"),
        ([' "', "May", ',"', " he"], 2, ',"'),
        ([" don", "'t", " go"], 1, "don't"),
        ([" a", "\n\n", "b"], 1, "\n\n"),
        ([" a", "\n\n", "b"], 2, "b"),
        ([" end", ".\n", "Then"], 0, "end"),
        ([" end", ".\n", "Then"], 2, "Then"),
        ([" New York", "ers", " of"], 1, "Yorkers"),
        ([" New York", "ers", " of"], 0, "New Yorkers"),
        ([" na", "\ufffd", "\ufffd", "ve"], 3, "na\ufffd\ufffdve"),
        ([" na", "<0xC3>", "<0xAF>", "ve"], 3, "na\ufffd\ufffdve"),
        ([" na", "\ufffd", "\ufffd", "ve"], 1, "\ufffd"),
        ([" again", "\ufffd", "\ufffd", " he"], 0, "again"),
        (["हिन्दी", " में"], 0, "हिन्दी"),
        (["May"], 0, "May"),
    ],
)
def test_a_word_is_what_no_white_space_parts_without_its_outer_punctuation(
    tokens: list[str], peak: int, word: str
) -> None:
    assert words_of(tokens, peak) == word


def test_a_special_token_and_the_end_of_the_window_end_a_word() -> None:
    texts = ["<|end|>", "The", "sis"]

    words = peak_words(
        np.array([[0, 1, 2, -1], [-1, 1, 0, 2]], np.int32), np.array([1, 1]), texts, {0, 99}
    )

    assert words == ["Thesis", "The"]


def test_no_contexts_have_no_words() -> None:
    assert peak_words(np.zeros((0, 5), np.int32), np.zeros(0, np.int64), ["a"]) == []
