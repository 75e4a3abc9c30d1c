"""One sentence about a neuron for a reader who is no specialist, by rules from its report alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from polyseme.contract.files.results import EVIDENCE_CONTEXTS

Row = Mapping[str, Any]

_ONE_WORD = 0.7  # share of a sense's peaks above which one word stands for it
_AT_START = 0.8  # share of its peaks at the very start, above which that is what a sense is about
_TELLING = 3  # letters of a word beside the peaks, below which it tells little
_NAMED = 3  # words named of a sense, and senses named of a neuron
_NUMBERS = (
    "no",
    "one thing",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
)


def describe_tail(report: Row, tail: str) -> str:
    """report: as `build_report` makes it, without the sentences; tail: positive or negative."""
    scores = report if tail == "positive" else report["negative"]
    senses = [s for s in report["senses"] if s["tail"] == tail]
    contexts = [c for c in report["contexts"] if c["tail"] == tail]
    sentence = {
        "not_scored": lambda: "Senses were not asked for.",
        "not_finite": lambda: "Its activations are not finite numbers: nothing can be said of it.",
        "insufficient_evidence": lambda: _thin(contexts),
        "incoherent": lambda: _unclear(scores, senses, contexts),
        "monosemantic": lambda: (
            f"{_verb(tail)} one thing: {_name(senses[0], contexts)}.{_rest(scores)}"
        ),
        "polysemantic": lambda: f"{_verb(tail)} {_list_senses(senses, contexts)}.{_rest(scores)}",
    }
    return sentence[scores["status"]]()


def _verb(tail: str) -> str:
    return "Fires for" if tail == "positive" else "Goes below zero for"


def _thin(contexts: Sequence[Row]) -> str:
    fired = sum(c["activation"] != 0 for c in contexts)
    if not fired:
        return "Never fired on this text."
    return f"Too little evidence: {fired} contexts, and {EVIDENCE_CONTEXTS} are needed."


def _unclear(scores: Row, senses: Sequence[Row], contexts: Sequence[Row]) -> str:
    left = (
        f"No clear meaning: {_percent(1 - scores['polysemanticity']['coverage'])} of its "
        f"firing fits no group"
    )
    return (
        f"{left}. What there is: {_join(_names(senses[:_NAMED], contexts))}."
        if senses
        else f"{left}."
    )


def _list_senses(senses: Sequence[Row], contexts: Sequence[Row]) -> str:
    names = _names(senses[:_NAMED], contexts)
    named = [f"{name} ({_percent(s['share'])})" for name, s in zip(names, senses, strict=False)]
    if more := len(senses) - len(named):
        named.append(f"{more} more")
    count = _NUMBERS[len(senses)] if len(senses) < len(_NUMBERS) else str(len(senses))
    return f"{count} unrelated things: {_join(named)}"


def _names(senses: Sequence[Row], contexts: Sequence[Row]) -> list[str]:
    """A name for each; senses that would have the same one also say what stands beside them."""
    plain = [_name(s, contexts) for s in senses]
    return [
        n if plain.count(n) == 1 else n + _beside(s) for n, s in zip(plain, senses, strict=True)
    ]


def _beside(sense: Row) -> str:
    near = [t["text"].strip() for t in sense["tokens"] if t["at"] == "near"]
    telling = [w for w in near if w.isalpha() and len(w) >= _TELLING]
    return f" near {_quote(telling[0])}" if telling else ""


def _rest(scores: Row) -> str:
    left = 1 - scores["polysemanticity"]["coverage"]
    return f" Another {_percent(left)} of its firing fits none of them." if left >= 0.1 else ""


def _name(sense: Row, contexts: Sequence[Row]) -> str:
    """What stands at the peaks of a sense: one word, or some of several."""
    held = [c for c in contexts if c["sense"] == sense["sense"]]
    if sum(c["position"] == 0 for c in held) >= _AT_START * len(held):
        return "the first token of a text"
    words = Counter(_word(_at_peak(c)) for c in held)
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
