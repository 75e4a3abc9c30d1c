"""One sentence about a neuron for a reader who is no specialist, by rules from its report alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from polyseme.contract.files.results import CLAIMED, EVIDENCE_CONTEXTS

Row = Mapping[str, Any]

_ONE_WORD = 0.7  # share of a sense's peaks above which one word stands for it
_AT_START = 0.8  # share of its peaks at the very start, above which that is what a sense is about
_TELLING = 3  # letters of a word beside the peaks, below which it tells little
_NAMED = 3  # words named of a sense, and things named of a neuron
_OF_THING = 2  # senses named of a thing that has several
_NUMBERS = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
)  # fmt: skip


def describe_tail(report: Row, tail: str) -> str:
    """report: as `build_report` makes it, without the sentences; tail: positive or negative."""
    scores = report if tail == "positive" else report["negative"]
    senses = [s for s in report["senses"] if s["tail"] == tail]
    peaks = [_Peak(c) for c in report["contexts"] if c["tail"] == tail]
    peaks += [_Peak(e) for e in report["evidence"] if e["tail"] == tail]
    sentence = {
        "not_scored": lambda: "Senses were not asked for.",
        "not_finite": lambda: "Its activations are not finite numbers: nothing can be said of it.",
        "insufficient_evidence": lambda: _thin(peaks),
        "described": lambda: _describe(scores["polysemanticity"], senses, peaks),
        "monosemantic": lambda: _claim(tail, scores["polysemanticity"], senses, peaks),
        "polysemantic": lambda: _claim(tail, scores["polysemanticity"], senses, peaks),
    }
    return sentence[scores["status"]]()


class _Peak:
    """What a sentence needs of a context, shown or not."""

    def __init__(self, kept: Row) -> None:
        self.sense: int | None = kept["sense"]
        self.is_first: bool = kept["position"] == 0
        self.fires: bool = kept["activation"] != 0
        self.word = _word(_at_peak(kept) if "tokens" in kept else kept["text"])


def _thin(peaks: Sequence[_Peak]) -> str:
    fired = sum(p.fires for p in peaks)
    if not fired:
        return "Never fired in this text."
    return (
        f"Too little evidence in this text: {fired} contexts, and {EVIDENCE_CONTEXTS} are needed."
    )


def _claim(tail: str, scores: Row, senses: Sequence[Row], peaks: Sequence[_Peak]) -> str:
    sure = [s for s in senses if s["sure"]] or list(senses)
    things = _gather(sure)
    verb = "Fires in this text for" if tail == "positive" else "Goes below zero in this text for"
    names = dict(zip((s["sense"] for s in senses), _names(senses, peaks), strict=True))
    if len(sure) == 1:
        said = f"one thing: {names[sure[0]['sense']]}"
    elif len(things) == 1:
        said = (
            f"{_number(len(sure))} kinds of one thing: {_list_things([[s] for s in sure], names)}"
        )
    else:
        kind = "unrelated things" if scores["unrelated"] else "things"
        said = f"{_number(len(things))} {kind}: {_list_things(things, names)}"
    tentative = [names[s["sense"]] for s in senses if s not in sure]
    return f"{verb} {said}.{_perhaps(tentative)}{_rest(scores)}"


def _describe(scores: Row, senses: Sequence[Row], peaks: Sequence[_Peak]) -> str:
    """Of a unit of which nothing is claimed, and why not."""
    percentile = scores["selectivity_percentile"]
    is_unclaimed = percentile is not None and percentile < 1 - CLAIMED
    if not senses:
        said = "Its contexts in this text have no meaning in common"
        more = f"; it is more selective than {_percent(percentile or 0)} of random directions"
        return f"{said}{more if is_unclaimed else ''}."
    named = _join(_names(senses[:_NAMED], peaks))
    said = f"Its strongest contexts in this text are about {named}"
    if percentile is None:
        return f"{said}; there are no random directions to compare it with."
    if is_unclaimed:
        return (
            f"{said}, but random directions do as much: it is more selective than "
            f"{_percent(percentile)} of them."
        )
    return f"{said}, but none of that is sure to come again in other text."


def _gather(senses: Sequence[Row]) -> list[list[Row]]:
    """The senses of each broad one, the largest first."""
    things: dict[int, list[Row]] = {}
    for sense in senses:
        things.setdefault(sense["broad"], []).append(sense)
    return sorted(things.values(), key=lambda thing: -_share(thing))


def _share(thing: Sequence[Row]) -> float:
    return float(sum(s["share"] for s in thing))


def _list_things(things: Sequence[Sequence[Row]], names: Mapping[int, str]) -> str:
    named = [
        f"{' or '.join(names[s['sense']] for s in thing[:_OF_THING])} ({_percent(_share(thing))})"
        for thing in things[:_NAMED]
    ]
    if more := len(things) - len(named):
        named.append(f"{more} more")
    return _join(named)


def _number(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def _perhaps(names: Sequence[str]) -> str:
    if not names:
        return ""
    named = [*names[:_NAMED], *([f"{len(names) - _NAMED} more"] if len(names) > _NAMED else [])]
    return f" Perhaps also for {_join(named)}."


def _rest(scores: Row) -> str:
    left = 1 - (1.0 if scores["coverage"] is None else scores["coverage"])
    return f" Another {_percent(left)} of its firing fits none of them." if left >= 0.1 else ""


def _names(senses: Sequence[Row], peaks: Sequence[_Peak]) -> list[str]:
    """A name for each; senses that would have the same one also say what stands beside them."""
    plain = [_name(s, peaks) for s in senses]
    return [
        n if plain.count(n) == 1 else n + _beside(s) for n, s in zip(plain, senses, strict=True)
    ]


def _beside(sense: Row) -> str:
    near = [t["text"].strip() for t in sense["tokens"] if t["at"] == "near"]
    telling = [w for w in near if w.isalpha() and len(w) >= _TELLING]
    return f" near {_quote(telling[0])}" if telling else ""


def _name(sense: Row, peaks: Sequence[_Peak]) -> str:
    """What stands at the peaks of a sense: one word, or some of several."""
    held = [p for p in peaks if p.sense == sense["sense"]]
    if sum(p.is_first for p in held) >= _AT_START * len(held):
        return "the first token of a text"
    words = Counter(p.word for p in held)
    (first, count), total = words.most_common(1)[0], words.total()
    if count >= _ONE_WORD * total:
        return _quote_one(first)
    if all(w.isdigit() for w in words):
        return "numbers"
    return f"words such as {_join([_quote(w) for w, _ in words.most_common(_NAMED)])}"


def _at_peak(context: Row) -> str:
    """What the document says there, or the name of a token that stands for nothing in it."""
    token: str = context["tokens"][context["peak"]]
    if (span := context["peak_span"]) is None:
        return token
    return context["text"][slice(*span)]


def _word(token: str) -> str:
    """Case and the space before a word do not matter; white space alone does."""
    return token.strip().casefold() or token


def _quote_one(word: str) -> str:
    if not word.strip():
        return "line breaks" if "\n" in word else "blank space"
    if not any(c.isalnum() for c in word):
        return f"the sign {_quote(word)}"
    return f"the number {_quote(word)}" if word.isdigit() else f"the word {_quote(word)}"


def _quote(word: str) -> str:
    return f"“{word}”" if word.strip() else ("a line break" if "\n" in word else "blank space")


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _percent(share: float) -> str:
    return f"{round(100 * share)} %"
