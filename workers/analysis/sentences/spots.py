"""What a reader sees at a place of a text: the whole word, and what stands beside it.

Words, and the characters on each side of them, in; knows no units.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

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
class Word:
    """What a word tells by itself; None where it tells nothing."""

    key: str | None  # without regard to case and to an 's behind it
    kind: str  # "word", "number" or "sign"
    shape: str | None  # "lower", "capitalised" or "capitals"
    script: str | None
    word_class: str | None  # of `word_classes`
    wider_class: str | None
    long_beginning: str | None
    beginning: str | None
    first_letter: str | None
    ending: str | None
    short_ending: str | None


@dataclass(eq=False)  # a frozen one takes several times as long to make, and there are many
class Spot:
    """What is seen at a place. Everything in its own case but for keys."""

    word: str
    key: str  # "" where the word has none
    own: Word
    kind: str  # that of the word, or "line break", "blank" or "nothing"
    is_whole: bool  # known not to be cut by its window
    is_first: bool  # what the model saw first
    before: str | None  # the word or sign, LINE, EDGE or NUMBER; None when it is not known
    after: str | None
    before_key: str | None
    after_key: str | None
    class_before: str | None
    class_after: str | None
    opens: bool  # first word of a sentence, as far as signs tell
    script: str | None  # of the word, or of what stands beside it
    sides: tuple[str, str]  # the characters before the word and behind it

    @cached_property
    def near(self) -> frozenset[str]:
        """Words beside it that tell something."""
        return frozenset(w for w in _words(*self.sides) if _tells(w) and key_of(w) != self.key)

    @cached_property
    def near_keys(self) -> list[str]:
        """Each once."""
        return sorted(set(map(key_of, self.near)))


def make_spots(words: Iterable[str], before: Iterable[str], after: Iterable[str]) -> list[Spot]:
    """Of each place its word and up to `surface_words.REACH` characters on each side."""
    return [_make_spot(*place) for place in zip(words, before, after, strict=True)]


def _make_spot(word: str, before: str, after: str) -> Spot:
    word, before, after = _extend(word, before, after)
    own = read_word(word)
    left, right = _beside(before, -1), _beside(after, 0)
    return Spot(
        word=word,
        key=own.key or "",
        own=own,
        kind=own.kind if word else _kind_of_space(after),
        is_whole=before[-1:] != UNKNOWN != after[:1],
        is_first=before in (EDGE, UNKNOWN),
        before=left,
        after=right,
        before_key=None if left is None else key_of(left),
        after_key=None if right is None else key_of(right),
        class_before=class_of(left),
        class_after=class_of(right),
        opens=_opens(before),
        script=own.script or script_of(before[::-1]) or script_of(after),
        sides=(before, after),
    )


@lru_cache(1 << 16)
def read_word(word: str) -> Word:
    key = key_of(word)
    letters = key if key.isalpha() else ""
    return Word(
        key=key or None,
        kind=_kind(word),
        shape=_shape(word) or None,
        script=script_of(word),
        word_class=class_of(key),
        wider_class=WIDER_CLASS_OF.get(key),
        long_beginning=letters[:3] if len(letters) > 3 else None,
        beginning=letters[:2] if len(letters) > 2 else None,
        first_letter=letters[:1] if len(letters) > 1 else None,
        ending=letters[-3:] if len(letters) > 4 else None,
        short_ending=letters[-2:] if len(letters) > 3 else None,
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
