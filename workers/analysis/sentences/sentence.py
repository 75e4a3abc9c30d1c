"""One sentence about a tail of a unit for a reader who is no specialist.

Every per cent is of all the firing in its contexts. Knows senses and places, not arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from polyseme.contract.files.column import CLAIMING, NOT_FINITE
from polyseme.contract.files.results import CLAIMED, EVIDENCE_CONTEXTS
from polyseme.contract.records.request import Tail as TailName
from polyseme.workers.analysis.sentences.phrases import (
    Phrase,
    join,
    name_places,
    quote,
    tell_apart,
)
from polyseme.workers.analysis.sentences.spots import Spot
from polyseme.workers.analysis.sentences.usual import Usual

_NAMED = 3  # things named of a unit
_OF_THING = 2  # senses named of a thing that has several
_EXAMPLES = 4  # words named of such a thing
_STRONGEST = 6  # contexts a reader looks at first
_MISSED = 3  # of these that no name speaks of, from which the sentence must say what they are
_PART = 0.25  # of the firing, below which the senses are the lesser part of what there is
_REST = 0.1  # of the firing, below which what is left is not worth a word
_NUMBERS = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
)  # fmt: skip


VERBS: Final[Mapping[TailName, str]] = {"positive": "fires", "negative": "goes below zero"}


@dataclass(frozen=True)
class Sense:
    share: float  # of all the unit's firing in its contexts
    is_sure: bool
    broad: int
    spots: Sequence[Spot]  # at its peaks, the strongest first
    name: Phrase


@dataclass(frozen=True)
class Tail:
    """What a sentence is made of. The spots are at the peaks that fire, the strongest first."""

    spots: Sequence[Spot]
    is_said: Sequence[bool] = ()  # of each spot, whether the name of its sense speaks of it
    senses: Sequence[Sense] = ()  # the largest first
    is_unrelated: bool = False
    standing: float | None = None  # share of the control units that it exceeds


def describe_tail(status: str, verb: str, tail: Tail, usual: Usual) -> str:
    """verb: what it does, of `VERBS`."""
    if status == NOT_FINITE:
        return _LOST
    if status == "insufficient_evidence":
        return _thin(len(tail.spots))
    if not tail.senses:
        return f"{_mixed(tail, usual)}{_chance(tail)}"
    return _describe(status, verb, tail, usual)


def describe_unscored(fired: int, *, is_lost: bool) -> str:
    """Of a unit whose senses were not asked for. fired: contexts with a positive activation."""
    if is_lost:
        return _LOST
    return _thin(fired) if fired < EVIDENCE_CONTEXTS else "Senses were not asked for."


_LOST = "Its activations are not finite numbers: nothing can be said of it."


def _thin(fired: int) -> str:
    if not fired:
        return "Never fired in this text."
    return (
        f"Too little evidence in this text: {fired} context{'s' * (fired != 1)}, and "
        f"{EVIDENCE_CONTEXTS} are needed."
    )


def _mixed(tail: Tail, usual: Usual) -> str:
    """Of a unit without senses: what it may be said to have, however little that is."""
    found = name_places(tail.spots, usual)
    if found.is_common:
        return f"Mixed in this text, but mostly {found.text}."
    strongest = _strongest(tail.spots)
    named = f"; strongest at {strongest}" if strongest else ""
    return f"Mixed in this text{named}."


def _strongest(spots: Sequence[Spot]) -> str:
    words = dict.fromkeys(s.word for s in spots[:_STRONGEST] if s.is_whole and s.word.strip())
    return join(list(map(quote, list(words)[:_NAMED]))) if words else ""


def _describe(status: str, verb: str, tail: Tail, usual: Usual) -> str:
    is_claimed = status in CLAIMING
    things = _gather(tail, usual)
    sure = [thing for thing in things if thing.is_sure]
    unsure = [thing for thing in things if not thing.is_sure]
    covered = sum(sense.share for sense in tail.senses)
    also = f" Perhaps also for {_list_things(unsure)}." if sure and unsure else ""
    missed, rest = _missed(tail), _rest(covered)
    if is_claimed and sure:
        said = _say(sure, tail.is_unrelated)
        return f"{verb.capitalize()} in this text for {said}.{also}{rest}{missed}"
    named = f"for {_list_things(sure or unsure)}"
    perhaps = "" if sure else "perhaps "
    if covered < _PART:
        said = f"Mostly mixed in this text; in part {perhaps}{named}."
        return f"{said}{also}{missed}{_chance(tail)}"
    return f"In this text it {perhaps}{verb} {named}.{also}{rest}{missed}{_chance(tail)}"


@dataclass(frozen=True)
class _Thing:
    """A broad sense, or the part of it that is as sure."""

    text: str
    share: float
    is_sure: bool
    broad: int


def _gather(tail: Tail, usual: Usual) -> list[_Thing]:
    """The largest first. Those that have one thing in common are one, whatever the measure says."""
    groups: dict[tuple[int, bool], list[Sense]] = {}
    for sense in tail.senses:
        groups.setdefault((sense.broad, sense.is_sure), []).append(sense)
    named = [(_name_thing(members, usual), members) for members in groups.values()]
    alike: dict[tuple[str, str, bool], list[list[Sense]]] = {}
    for name, members in named:
        key = (name.sort, name.where if name.is_common else name.text, members[0].is_sure)
        alike.setdefault(key, []).append(members)
    things = [
        thing
        for same in alike.values()
        for thing in (_tell_apart(same, usual) or [_thing([s for m in same for s in m], usual)])
    ]
    return sorted(things, key=lambda thing: -thing.share)


def _thing(members: Sequence[Sense], usual: Usual, more: str = "") -> _Thing:
    share = sum(sense.share for sense in members)
    text = _name_thing(members, usual).text + more
    return _Thing(text, share, members[0].is_sure, members[0].broad)


def _tell_apart(same: Sequence[Sequence[Sense]], usual: Usual) -> list[_Thing]:
    """Things of one word, where something else stands near it in each; nothing where not."""
    if len(same) < 2 or _name_thing(same[0], usual).keys is None:
        return []
    near = [tell_apart(_spots_of(members), usual) for members in same]
    if not all(near) or len(set(near)) < len(near):
        return []
    return [_thing(members, usual, more) for members, more in zip(same, near, strict=True)]


def _name_thing(senses: Sequence[Sense], usual: Usual) -> Phrase:
    names = [sense.name for sense in senses]
    if len(names) == 1:
        return names[0]
    whole = name_places(_spots_of(senses), usual)
    of_one_word = len({name.keys for name in names}) == 1
    if whole.is_common and (of_one_word or not whole.keys or not any(n.where for n in names)):
        return whole
    different = list(dict.fromkeys(name.text for name in names))
    if len(different) == 1:
        return names[0]
    if any(name.is_common for name in names):
        more = " or others" * (len(different) > _OF_THING)
        return Phrase(f"{' or '.join(different[:_OF_THING])}{more}")
    words = [word for turn in zip_longest(*(name.examples for name in names)) for word in turn]
    examples = tuple(word for word in dict.fromkeys(words) if word is not None)
    return Phrase("words" if examples else "various words", "", examples[:_EXAMPLES], False)


def _spots_of(senses: Sequence[Sense]) -> list[Spot]:
    return [spot for sense in senses for spot in sense.spots]


def _say(things: Sequence[_Thing], is_unrelated: bool) -> str:
    """Things that are sure, with how many they are."""
    named = _list_things(things)
    broad = {thing.broad for thing in things}
    if len(things) == 1:
        return f"one thing: {named}"
    if len(broad) == 1:
        return f"{_number(len(things))} kinds of one thing: {named}"
    return f"{_number(len(things))} {'unrelated ' * is_unrelated}things: {named}"


def _list_things(things: Sequence[_Thing]) -> str:
    named = [f"{thing.text} ({percent(thing.share)})" for thing in things[:_NAMED]]
    if more := len(things) - len(named):
        share = sum(thing.share for thing in things[_NAMED:])
        named.append(f"{_number(more)} more ({percent(share)})")
    return join(named) if len(named) == 1 else f"{'; '.join(named[:-1])}; and {named[-1]}"


def _rest(covered: float) -> str:
    left = 1 - covered
    return f" The other {percent(left)} is mixed." if left > _REST - 1e-6 else ""


def _missed(tail: Tail) -> str:
    """The strongest contexts, where no sense's name speaks of them."""
    missed = [
        spot
        for spot, is_said in list(zip(tail.spots, tail.is_said, strict=True))[:_STRONGEST]
        if not is_said
    ]
    if len(missed) < _MISSED or not (named := _strongest(missed)):
        return ""
    return f" None of these names its strongest contexts: {named}."


def _chance(tail: Tail) -> str:
    if tail.standing is None:
        return " There are no random directions to compare it with."
    return "" if tail.standing >= 1 - CLAIMED else " A random direction does as much."


def _number(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def percent(share: float) -> str:
    return f"{round(100 * share)} %"
