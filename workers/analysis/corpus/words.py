"""Which word stands at a peak.

Token ids and their texts in, words out; knows nothing of tokenizers.

Only white space parts words: of a script that writes without it a word is all that was given of a
sentence, and "law--the" is one word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence

import numpy as np

from polyseme.workers.analysis.models.token_texts import replace_bytes

_CONTINUATION = "##"  # begins a WordPiece token that goes on with a word


def peak_words(
    tokens: np.ndarray, peaks: np.ndarray, vocabulary: Sequence[str], special: Collection[int] = ()
) -> list[str]:
    """The word that each peak token belongs to, without the punctuation at its ends.

    tokens: (C, D) int32, in reading order, -1 where there is none; peaks: (C,) which of its row is
    the peak, never a -1; vocabulary: the text of each id as `read_vocabulary` gives it; special:
    ids that stand for no text and so end a word. A token without a letter or digit is a word of its
    own, and so is white space. A word that is longer than the row is cut.
    """
    texts, begins, ends = _borders(vocabulary, special)
    first, last = _runs(tokens, peaks, begins, ends)
    found: dict[tuple[bytes, int], str] = {}
    words = []
    for row, a, peak, b in zip(tokens, first.tolist(), peaks.tolist(), last.tolist(), strict=True):
        key = (row[a:b].tobytes(), peak - a)
        if key not in found:
            found[key] = _word([texts[i] for i in row[a:b].tolist()], peak - a)
        words.append(found[key])
    return words


def _borders(
    vocabulary: Sequence[str], special: Collection[int]
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The tokens' texts, whether a word begins with each, and whether one ends with it, (V,)
    bool.
    """
    if is_wordpiece(vocabulary):
        begins = [not text.startswith(_CONTINUATION) for text in vocabulary]
        texts, ends = (
            [text.removeprefix(_CONTINUATION) for text in vocabulary],
            [False] * len(vocabulary),
        )
    else:
        begins = [text[:1].isspace() for text in vocabulary]
        ends = [text[-1:].isspace() for text in vocabulary]
        texts = [replace_bytes(text) if "<0x" in text else text for text in vocabulary]
    begin, end = np.array(begins, bool), np.array(ends, bool)
    alone = [
        i for i in special if i < len(texts)
    ]  # a model may have no embedding for its tokenizer's padding
    begin[alone] = end[alone] = True
    return texts, begin, end


def is_wordpiece(vocabulary: Sequence[str]) -> bool:
    """Whether tokens say that they go on with a word, rather than that they begin one."""
    return not any(text[:1] == " " for text in vocabulary) and any(
        text.startswith(_CONTINUATION) for text in vocabulary
    )


def _runs(
    tokens: np.ndarray, peaks: np.ndarray, begins: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The first token of each peak's run and the one behind its last, (C,) each."""
    outside = tokens < 0
    border = np.ones(
        (tokens.shape[0], tokens.shape[1] + 1), bool
    )  # before each token, and behind the last
    border[:, 1:-1] = (
        begins[tokens[:, 1:]] | ends[tokens[:, :-1]] | outside[:, 1:] | outside[:, :-1]
    )
    place, peak = np.arange(border.shape[1]), peaks[:, None]
    first = np.where(border & (place <= peak), place, 0).max(1)
    last = np.where(border & (place > peak), place, tokens.shape[1]).min(1)
    return first, last


def _word(run: list[str], peak: int) -> str:
    own = run[peak]
    if not any(map(_is_wordlike, own)):
        return own.strip() or own
    # A token may have white space inside, so that a run is not always one word.
    before, after = "".join(run[:peak]), "".join(run[peak + 1 :])
    return _bare(re.split(r"\s", before)[-1] + own.strip() + re.split(r"\s", after)[0])


def _bare(word: str) -> str:
    kept = [i for i, character in enumerate(word) if _is_wordlike(character)]
    return word[kept[0] : kept[-1] + 1]


def _is_wordlike(character: str) -> bool:
    """Letters, marks on them, digits: neither punctuation nor a symbol, a separator, a control
    character.

    U+FFFD, for a part of a character, is a symbol: whole characters that are split are mostly
    dashes and emoji.
    """
    return unicodedata.category(character)[0] not in "PSZC"
