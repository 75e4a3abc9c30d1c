"""Which word stands at a place of a text, and between what.

Characters in, words out; knows neither tokens nor tokenizers.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from functools import lru_cache

_SPACED, _UNSPACED = 1, 2

# Between two letters these are part of a word: apostrophes, and the joiners of Persian and Indic.
_INNER = frozenset("'\u2019\u200c\u200d")

# First and last characters of scripts that write words without a space between them, ascending:
# Thai, Lao, Myanmar, Khmer, Hiragana, Katakana and Han.
_RANGES = (
    (0x0E01, 0x0E7F), (0x0E80, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x2FDF),
    (0x3005, 0x3007), (0x3021, 0x3029), (0x3041, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F), (0xF900, 0xFAFF), (0xFF66, 0xFF9F),
    (0x1B000, 0x1B16F), (0x20000, 0x3FFFF),
)  # fmt: skip
_FIRSTS = tuple(first for first, _ in _RANGES)


UNKNOWN = "\ufffd"  # where the text goes on, and how is not known

REACH = 32  # characters kept on each side of a word


def word_at(text: str, start: int, end: int) -> str:
    """The whole word that text[start:end] stands in, in the text's own case: "" for white space
    alone, and for an empty span. See `word_span`.
    """
    first, behind = word_span(text, start, end)
    return text[first:behind]


def sides_of(
    text: str, span: tuple[int, int], *, begins: bool = True, ends: bool = True
) -> tuple[str, str]:
    """What stands before and behind a word, up to `REACH` characters each.

    begins, ends: whether the text is whole on that side. Where it is not, UNKNOWN stands beyond its
    first or last character: a word that reaches it may be cut.
    """
    first, behind = span
    if not begins:
        text, first, behind = UNKNOWN + text, first + 1, behind + 1
    if not ends:
        text += UNKNOWN
    return text[max(first - REACH, 0) : first], text[behind : behind + REACH]


def is_word_character(character: str) -> bool:
    return _kind(character) != 0


def word_span(text: str, start: int, end: int) -> tuple[int, int]:
    """Where the whole word begins and ends that text[start:end] stands in.

    A word is the longest run of letters, digits, marks and apostrophes between them. Of several in
    the span it is the last. Of a script that is written without spaces it is what the span itself
    has of it. A span without a letter or digit of a word is itself the word, without the white
    space around it.
    """
    own = text[start:end].strip()
    start += text[start:end].find(own)
    end = start + len(own)
    last = end - 1
    while last >= start and not _kind(text[last]):
        last -= 1
    if last < start:
        return start, end
    spaced = _kind(text[last]) == _SPACED
    first, behind = _run(text, last, *((0, len(text)) if spaced else (start, end)))
    return (first, behind) if any(map(str.isalnum, text[first:behind])) else (start, end)


def _run(text: str, at: int, low: int, high: int) -> tuple[int, int]:
    """Where the run of characters of one kind around a place begins and ends, between two
    places.
    """
    kind = _kind(text[at])
    first, behind = at, at + 1
    while True:
        if first > low and _kind(text[first - 1]) == kind:
            first -= 1
        elif first > low + 1 and text[first - 1] in _INNER and _kind(text[first - 2]) == kind:
            first -= 2
        else:
            break
    while True:
        if behind < high and _kind(text[behind]) == kind:
            behind += 1
        elif behind < high - 1 and text[behind] in _INNER and _kind(text[behind + 1]) == kind:
            behind += 2
        else:
            return first, behind


@lru_cache(1 << 16)
def _kind(character: str) -> int:
    """0 for what is in no word: punctuation, symbols, separators, control characters, and U+FFFD,
    which stands for a part of a character.
    """
    if unicodedata.category(character)[0] not in "LNM":
        return 0
    code = ord(character)
    place = bisect_right(_FIRSTS, code) - 1
    return _UNSPACED if place >= 0 and code <= _RANGES[place][1] else _SPACED
