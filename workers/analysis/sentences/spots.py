"""What a reader sees at a place of a text: the whole word, and what stands beside it.

Words, and the characters on each side of them, in; knows no units.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from polyseme.workers.analysis.corpus.surface_words import (
    REACH,
    UNKNOWN,
    is_word_character,
    word_at,
)
from polyseme.workers.analysis.sentences.word_classes import (
    CLASS_OF,
    EVERYWHERE,
    WIDER_CLASS_OF,
)

LINE = "\n"  # beside a word: a line break
EDGE = ""  # and the beginning or the end of the text
NUMBER = "0"  # and a number, whichever

_NEAR = 3  # words on each side that are beside a place
_SPACES = " \t\u00a0"
_ENDS_SENTENCE = frozenset(".!?")
# What goes on across signs: 50,000 and U.S.
_NUMBER_BEFORE, _NUMBER_AFTER = (
    re.compile(r"(?<![^\W_])(?:\d+[.,])+$"),
    re.compile(r"(?:[.,]\d+)+(?![^\W_])"),
)
_LETTERS_BEFORE = re.compile(r"(?<!\w)(?:[^\W\d_]\.)+$")
_LETTERS_AFTER = re.compile(r"(?:\.[^\W\d_](?!\w))*\.")
_LETTERS_IN_LINE = re.compile(r"(?:[^\W\d_]\.)+")
_LETTERS_IN_FRONT = re.compile(r"(?:[^\W\d_]\.){2,}")
_YEAR = re.compile(r"1[0-9]\d\d|20[0-4]\d")
_OPENING = frozenset("\"'“‘«([{*")


@dataclass(frozen=True, slots=True)
class Spot:
    """Everything in its own case but for `key`."""

    word: str
    key: str  # without regard to case and to an 's behind it
    kind: str  # "word", "number", "sign", "line break", "blank" or "nothing"
    is_whole: bool  # known not to be cut by its window
    is_first: bool  # what the model saw first
    before: str | None  # the word or sign, LINE, EDGE or NUMBER; None when it is not known
    after: str | None
    opens: bool  # first word of a sentence, as far as signs tell
    shape: str  # "lower", "capitalised", "capitals" or ""
    script: str | None  # of the word, or of what stands beside it
    near: frozenset[str]  # words beside it that tell something


def make_spots(words: Iterable[str], before: Iterable[str], after: Iterable[str]) -> list[Spot]:
    """Of each place its word and up to `surface_words.REACH` characters on each side."""
    return [_make_spot(*place) for place in zip(words, before, after, strict=True)]


def _make_spot(word: str, before: str, after: str) -> Spot:
    word, before, after = _extend(word, before, after)
    key = key_of(word)
    left, right = _beside(before, -1), _beside(after, 0)
    return Spot(
        word=word,
        key=key,
        kind=_kind(word) if word else _kind_of_space(after),
        is_whole=before[-1:] != UNKNOWN != after[:1],
        is_first=before in (EDGE, UNKNOWN),
        before=left,
        after=right,
        opens=_opens(before),
        shape=_shape(word),
        script=script_of(word) or script_of(before[::-1]) or script_of(after),
        near=frozenset(w for w in _words(before, after) if _tells(w) and key_of(w) != key),
    )


def _extend(word: str, before: str, after: str) -> tuple[str, str, str]:
    """A part of a number or of an abbreviation is read as the whole of it, and a run of one sign as
    the sign.
    """
    if word and word == word[0] * len(word) and not word[0].isalnum():
        before, after = before.rstrip(word[0]), after.lstrip(word[0])
        if word[0] != ".":
            return word[0], before, after
    if word.isdigit():
        left, right = _NUMBER_BEFORE.search(before), _NUMBER_AFTER.match(after)
    elif len(word) == 1 and word.isalpha() and (before[-1:] == "." or after[:1] == "."):
        left, right = _LETTERS_BEFORE.search(before), _LETTERS_AFTER.match(after)
        if not right or len((left[0] if left else "") + word + right[0]) < 4:
            return word, before, after
    elif word == "." and (found := _LETTERS_BEFORE.search(before + word)) and len(found[0]) > 3:
        more = _LETTERS_IN_LINE.match(after)
        rest = more[0] if more else ""
        return found[0] + rest, (before + word)[: found.start()], after[len(rest) :]
    else:
        return word, before, after
    if left:
        word, before = left[0] + word, before[: left.start()]
    if right:
        word, after = word + right[0], after[right.end() :]
    return word, before, after


@lru_cache(1 << 16)
def key_of(word: str) -> str:
    key = word.casefold()
    bare = key.removesuffix("'s").removesuffix("’s")
    return key if key in CLASS_OF or len(bare) < 3 else bare


@lru_cache(1 << 16)
def _kind(word: str) -> str:
    if any(map(str.isalpha, word)):
        return "word"
    return "number" if any(map(str.isdigit, word)) else "sign"


def _kind_of_space(after: str) -> str:
    """White space is no word; it is the first of what stands behind."""
    space = after[: len(after) - len(after.lstrip())]
    if not space:
        return "nothing"
    return "line break" if "\n" in space else "blank"


@lru_cache(1 << 16)
def _shape(word: str) -> str:
    letters = [c for c in word if c.isalpha()]
    if not letters or letters[0].lower() == letters[0].upper():
        return ""
    if letters[0].islower():
        return "lower"
    return "capitals" if len(letters) > 1 and all(map(str.isupper, letters)) else "capitalised"


def _beside(side: str, end: int) -> str | None:
    """The nearest word or sign. end: where the place is, -1 behind `side` or 0 before it."""
    bare = side.rstrip(_SPACES) if end else side.lstrip(_SPACES)
    if not bare:
        return EDGE if len(side) < REACH else None
    if bare[end] == UNKNOWN:
        return None
    if bare[end] in "\r\n":
        return LINE
    if found := (_LETTERS_BEFORE.search(bare) if end else _LETTERS_IN_FRONT.match(bare)):
        return found[0] if len(found[0]) > 3 else bare[end]
    if not is_word_character(bare[end]):
        return bare[end]
    at = len(bare) - 1 if end else 0
    word = word_at(bare, at, at + 1)
    # Where the side is cut, so may be the word.
    beyond = bare[: -len(word)][-1:] if end else bare[len(word) :][:1]
    if beyond == UNKNOWN or (not beyond and len(side) == REACH):
        return None
    return NUMBER if word.isdigit() else word


def _opens(before: str) -> bool:
    bare = before.rstrip(_SPACES).rstrip("".join(_OPENING)).rstrip(_SPACES)
    return not bare or bare[-1] in _ENDS_SENTENCE or bare[-1] in "\r\n"


def _words(before: str, after: str) -> list[str]:
    """The nearest whole words on each side."""
    left, right = _runs(before), _runs(after)
    if len(before) == REACH or before[:1] == UNKNOWN:
        left = left[1:]
    if len(after) == REACH or after[-1:] == UNKNOWN:
        right = right[:-1]
    return left[-_NEAR:] + right[:_NEAR]


def _runs(side: str) -> list[str]:
    spaced = "".join(c if is_word_character(c) or c in "'’" else " " for c in side)
    return [word.strip("'’") for word in spaced.split()]


@lru_cache(1 << 16)
def _tells(word: str) -> bool:
    return len(word) > 2 and word.isalpha() and word.casefold() not in EVERYWHERE


@lru_cache(1 << 16)
def class_of(word: str | None) -> str | None:
    key = (word or "").casefold()
    return "years" if _YEAR.fullmatch(key) else CLASS_OF.get(key)


@lru_cache(1 << 16)
def wider_class_of(word: str | None) -> str | None:
    return WIDER_CLASS_OF.get((word or "").casefold())


@lru_cache(1 << 16)
def script_of(word: str) -> str | None:
    """That of its first letter, such as "Latin" or "Cyrillic"; None without letters."""
    letter = next((c for c in word if c.isalpha()), None)
    if letter is None:
        return None
    name = unicodedata.name(letter, "").split()
    if not name:
        return None
    first = name[0]
    if first in ("CJK", "HIRAGANA", "KATAKANA"):
        return {"CJK": "Han"}.get(first, first.capitalize())
    return first.capitalize()
