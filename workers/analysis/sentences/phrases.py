"""A name for what some places have in common: as modest as it must be to hold for most of them.

Knows places, not senses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from math import log
from operator import attrgetter
from typing import Any, Final

from polyseme.workers.analysis.sentences.spots import EDGE, LINE, NUMBER, Spot, key_of
from polyseme.workers.analysis.sentences.usual import (
    SIGHTS,
    Usual,
    commonest,
    commonest_near,
    count_sights,
    most_of,
)
from polyseme.workers.analysis.sentences.word_classes import EVERYWHERE, FUNCTION_WORDS

MOST = 0.7  # share of the places from which something holds for most of them
MAINLY = 0.5  # from which one word stands for them
OFTEN = 0.4  # and from which it is often so
_SOME = 0.25  # that tell senses of one name apart
_TELLING = 3.0  # times as often as at random places, below which what holds says nothing
_RARE = 6.0  # the same of what holds only often
_FEW = 3  # words that may make up a sense by themselves
_ALL = 0.8  # share of the places that these must have
_NAMED = 3  # words named where there are many
_VARIED = 4  # different words below which a common form is no form

SIGNS = {
    ",": "a comma",
    ".": "a full stop",
    ":": "a colon",
    ";": "a semicolon",
    "(": "an opening bracket",
    ")": "a closing bracket",
    "[": "an opening bracket",
    "]": "a closing bracket",
    '"': "a quotation mark",
    "“": "a quotation mark",
    "”": "a quotation mark",
    "'": "an apostrophe",
    "’": "an apostrophe",
    "-": "a hyphen",
    "–": "a dash",
    "—": "a dash",
    "?": "a question mark",
    "!": "an exclamation mark",
    "_": "an underscore",
    "/": "a slash",
}


@dataclass(frozen=True)
class Phrase:
    sort: str  # what they are
    where: str = ""  # and beside what
    examples: tuple[str, ...] = ()  # words of many
    is_common: bool = True  # something holds for most places, beyond that some words stand there
    keys: frozenset[str] | None = None  # the only words that it speaks of

    @property
    def text(self) -> str:
        if not self.examples:
            return f"{self.sort}{self.where.removesuffix(',')}"
        comma = "," if self.where and not self.where.endswith(",") else ""
        named = join(list(map(quote, self.examples)))
        return f"{self.sort}{self.where}{comma} such as {named}"

    def speaks_of(self, spot: Spot) -> bool:
        return self.keys is None or spot.key in self.keys


START_OF_TEXT: Final = "the start of a text"


def name_places(spots: Sequence[Spot], usual: Usual) -> Phrase:
    """spots: at least one, the strongest first."""
    if _share(spots, "is_first") >= _ALL:
        return Phrase(START_OF_TEXT)
    kind, count = most_of(s.kind for s in spots)
    if kind not in ("word", "number") and count >= _ALL * len(spots):
        return _name_signs(kind, [s for s in spots if s.kind == kind], usual)
    key, share = commonest(spots, "key") or ("", 0.0)
    form = _form(spots, key) if share >= MAINLY else None
    if form and share >= MOST:
        own = [s for s in spots if s.key == key]
        where = _where(own, usual) or _near(own, usual)
        return Phrase(one_of(form), where, keys=frozenset([key]))
    sort = _sort_of(spots, usual)
    if not sort.is_exact and (named := _name_few(spots, usual)):
        return named
    where = _where(spots, usual)
    if not sort.name and form:
        return Phrase(f"words{where.rstrip(',')}, above all {quote(form)}")
    examples = tuple(pick_examples(sort.spots, usual))
    return Phrase(sort.name or "words", where, examples, bool(sort.name or where))


def _name_signs(kind: str, spots: Sequence[Spot], usual: Usual) -> Phrase:
    plain = {"line break": "line breaks", "blank": "blank space", "nothing": "special tokens"}
    if kind in plain:
        return Phrase(plain[kind], _where(spots, usual) if kind == "blank" else "")
    keys = count_sights(spots, "key").most_common(_NAMED)
    where = _where(spots, usual)
    if keys[0][1] >= MOST * len(spots):
        return Phrase(one_of(keys[0][0]), where, keys=frozenset([keys[0][0]]))
    return Phrase("signs", where, tuple(key for key, _ in keys))


def _name_few(spots: Sequence[Spot], usual: Usual) -> Phrase | None:
    """Of a few words that are nearly all there is."""
    keys = count_sights(spots, "key").most_common(_FEW)
    if len(keys) < 2:
        return None
    kept = keys[:2]
    if sum(count for _, count in kept) < _ALL * len(spots):
        kept = keys
    if sum(count for _, count in kept) < _ALL * len(spots) or kept[-1][1] < 2:
        return None
    forms = [form for key, _ in kept if (form := _form(spots, key))]
    if len(forms) < len(kept):
        return None
    own = [s for s in spots if s.key in dict(kept)]
    where = _where(own, usual) or _near(own, usual)
    return Phrase(join(list(map(quote, forms))), where, keys=frozenset(dict(kept)))


def one_of(form: str) -> str:
    if any(map(str.isalpha, form)):
        return f"the word {quote(form)}"
    return f"the {'number' if form.isdigit() else 'sign'} {quote(form)}"


@dataclass(frozen=True)
class _Sort:
    """What sort of words most of them are; without a name of none."""

    name: str
    spots: Sequence[Spot]  # those that are of it
    is_exact: bool = False  # it says more than a list of words would


def _sort_of(spots: Sequence[Spot], usual: Usual) -> _Sort:
    script, count = most_of(s.own.script for s in spots)
    if script not in (None, "Latin") and count >= MOST * len(spots):
        return _Sort(f"words in {script} letters", [s for s in spots if s.own.script == script])
    for sight in ("class", "wider class"):
        found = commonest(spots, sight)
        if found and found[1] >= MOST and usual.lift(sight, *found) >= _TELLING:
            own = _those(spots, sight, found[0])
            return _Sort(f"{'capitalised ' * _are_capitalised(own)}{found[0]}", own, True)
    numbers = [s for s in spots if s.kind == "number"]
    if len(numbers) >= _ALL * len(spots):
        return _Sort("numbers", numbers, True)
    counts = [s for s in spots if s.kind == "number" or s.own.word_class in _COUNTS]
    if len(counts) >= MOST * len(spots) > 2 * len(counts) - 2 * len(numbers):
        return _Sort("numbers and number words", counts, True)
    little = [s for s in spots if s.key in FUNCTION_WORDS]
    if len(little) >= MOST * len(spots):
        return _Sort("function words", little)
    if len(numbers) >= OFTEN * len(spots):
        return _Sort("numbers and words", spots)
    return _form_of(spots, usual)


def _form_of(spots: Sequence[Spot], usual: Usual) -> _Sort:
    """How they are written, where they are alike."""
    if _are_capitalised(spots):
        return _Sort("capitalised words", [s for s in spots if s.own.shape != "lower"])
    for sight in _FORMS:
        found = commonest(spots, sight)
        if not found or found[1] < _ALL or usual.lift(sight, *found) < _RARE:
            continue
        own = _those(spots, sight, found[0])
        if len({s.key for s in own}) >= _VARIED:
            part = f"-{found[0]}" if "ending" in sight else f"{_written_first(own, found[0])}-"
            way = "ending in" if "ending" in sight else "beginning with"
            return _Sort(f"words {way} “{part}”", own)
    return _Sort("", spots)


_COUNTS = ("number words", "ordinal words")
_FORMS = ("long beginning", "ending", "beginning", "short ending", "first letter")


def _written_first(spots: Sequence[Spot], beginning: str) -> str:
    """A beginning in the case that it always has, or without regard to it."""
    forms = {s.word[: len(beginning)] for s in spots}
    return forms.pop() if len(forms) == 1 else beginning


def _are_capitalised(spots: Sequence[Spot]) -> bool:
    """Beyond what the start of a sentence makes so, and what proper names usually are."""
    large = [s.own.shape in ("capitalised", "capitals") for s in spots]
    return sum(large) >= _ALL * len(spots) and _share(spots, "opens") < OFTEN


def _those(spots: Sequence[Spot], sight: str, value: Any) -> list[Spot]:
    see = SIGHTS[sight]
    return [s for s in spots if see(s) == value]


def _where(spots: Sequence[Spot], usual: Usual) -> str:
    """What stands beside most of them, or often does."""
    sides = []
    for sight, word in (("before", "after"), ("after", "before")):
        found = commonest(spots, sight)
        if not found or found[1] < OFTEN:
            continue
        lift = usual.lift(sight, *found)
        if lift >= (_TELLING if found[1] >= MOST else _RARE):
            sides.append((found[1], _beside(word, _written(spots, sight, found[0]))))
    sides.sort(key=lambda side: -side[0])
    if len(sides) == 2 and sides[1][0] >= MOST:
        return f"{sides[0][1]} and{sides[1][1]}"
    if sides and sides[0][0] >= MOST:
        return sides[0][1]
    opens = _share(spots, "opens")
    if opens >= MOST and usual.lift("opens", True, opens) >= _TELLING:
        return " at the start of a sentence"
    if classes := _beside_class(spots, usual):
        return classes
    return f", often{sides[0][1]}," if sides else ""


def _written(spots: Sequence[Spot], side: str, key: str) -> str:
    """A neighbour in the case that it has most often."""
    return str(most_of(getattr(s, side) for s in _those(spots, side, key))[0])


def _beside(word: str, value: str) -> str:
    if value in (LINE, EDGE):
        end = "start" if word == "after" else "end"
        return f" at the {end} of a {'line' if value == LINE else 'text'}"
    return f" {word} {'a number' if value == NUMBER else SIGNS.get(value) or quote(value)}"


def _beside_class(spots: Sequence[Spot], usual: Usual) -> str:
    for sight, word in (("class before", "after"), ("class after", "before")):
        found = commonest(spots, sight)
        if found and found[1] >= MOST and usual.lift(sight, *found) >= _TELLING:
            return f" {word} {found[0]}"
    return ""


def tell_apart(spots: Sequence[Spot], usual: Usual) -> str:
    """What stands near enough of them to tell them from others of the same name; "" without."""
    found = commonest_near(spots)
    if not found or found[1] < _SOME or usual.lift("near", *found) < _RARE:
        return ""
    return f" near {quote(_written_near(spots, found[0]))}"


def _written_near(spots: Sequence[Spot], key: str) -> str:
    return str(most_of(w for s in spots for w in sorted(s.near) if key_of(w) == key)[0])


def _near(spots: Sequence[Spot], usual: Usual) -> str:
    found = commonest_near(spots)
    if found and found[1] >= OFTEN and usual.lift("near", *found) >= _RARE:
        form = f"near {quote(_written_near(spots, found[0]))}"
        return f" {form}" if found[1] >= MOST else f", often {form},"
    return ""


def pick_examples(spots: Sequence[Spot], usual: Usual, count: int = _NAMED) -> list[str]:
    """Words that stand there often and elsewhere seldom; of those that are alike the strongest."""
    keys = count_sights([s for s in spots if s.is_whole], "key")
    places = len(spots)

    def weight(key: str) -> float:
        own = keys[key]
        told = log(max(usual.lift("key", key, own / places), 1.0))
        return own * told * (0.5 if key in EVERYWHERE else 1.0)

    ranked = sorted(keys, key=lambda key: -weight(key))
    forms = (_form(spots, key) for key in ranked)
    return list(islice(filter(None, forms), count))


def _form(spots: Sequence[Spot], key: str) -> str | None:
    """A word as the text writes it there most often; None where it may always be cut."""
    forms = [s.word for s in spots if s.key == key and s.is_whole]
    return str(most_of(forms)[0]) if forms else None


def _share(spots: Sequence[Spot], name: str) -> float:
    return sum(map(attrgetter(name), spots)) / len(spots)


def quote(word: str) -> str:
    return f"“{word}”"


def join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
