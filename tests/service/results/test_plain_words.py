from __future__ import annotations

from typing import Any

import pytest

from polyseme.service.results.plain_words import describe_tail


def make_report(
    status: str, words: dict[str, int], coverage: float = 1.0, **changes: Any
) -> dict[str, Any]:
    """A sense for each key, its peaks the words in it, separated by "|", each so many times."""
    contexts, senses = [], []
    total = sum(count * len(key.split("|")) for key, count in words.items())
    for number, (key, count) in enumerate(words.items()):
        peaks = key.split("|") * count
        contexts += [
            {
                "tail": "positive",
                "sense": number,
                "activation": 1.0,
                "peak": 0,
                "position": 7,
                "tokens": ["<0xE6>"],
                "text": f"so{peak}.",
                "peak_span": [2, 2 + len(peak)],
            }
            for peak in peaks
        ]
        senses.append(
            {"tail": "positive", "sense": number, "share": len(peaks) / total, "tokens": []}
        )
    scores = {"coverage": coverage}
    return {
        "status": status,
        "contexts": contexts,
        "senses": senses,
        "polysemanticity": scores,
    } | changes


def describe(*arguments: Any, **changes: Any) -> str:
    return describe_tail(make_report(*arguments, **changes), "positive")


def test_several_senses_are_named_with_their_shares() -> None:
    assert describe("polysemantic", {" May| June| July": 4, " that": 4, ".": 4}) == (
        "Fires for three unrelated things: words such as “may”, “june” and “july” (60 %), the "
        "word “that” (20 %) "
        "and the sign “.” (20 %)."
    )


def test_a_peak_on_a_token_that_stands_for_nothing_has_its_name() -> None:
    report = make_report("monosemantic", {" an": 5})
    for context in report["contexts"]:
        context |= {"tokens": ["[CLS]"], "peak_span": None}

    assert describe_tail(report, "positive") == "Fires for one thing: the word “[cls]”."


def test_one_sense_is_one_thing() -> None:
    assert describe("monosemantic", {" An| an": 5}) == "Fires for one thing: the word “an”."


def test_what_fits_no_sense_is_said() -> None:
    assert describe("monosemantic", {" an": 5}, 0.7) == (
        "Fires for one thing: the word “an”. Another 30 % of its firing fits none of them."
    )


def test_more_senses_than_can_be_named_are_counted() -> None:
    sentence = describe("polysemantic", {" a": 4, " b": 4, " c": 4, " d": 4, " e": 4})

    assert sentence.startswith("Fires for five unrelated things: the word “a” (20 %)")
    assert sentence.endswith("and 2 more.")


def test_an_incoherent_neuron_has_no_clear_meaning() -> None:
    assert describe("incoherent", {" an": 5}, 0.4) == (
        "No clear meaning: 60 % of its firing fits no group. What there is: the word “an”."
    )
    assert describe("incoherent", {}, 0.0) == "No clear meaning: 100 % of its firing fits no group."


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ({"1|2|33": 3}, "numbers"),
        ({"7": 9}, "the number “7”"),
        ({"\n": 9}, "line breaks"),
        ({"  ": 9}, "blank space"),
        ({" =": 9}, "the sign “=”"),
    ],
)
def test_tokens_that_are_no_words_are_called_what_they_are(
    words: dict[str, int], named: str
) -> None:
    assert describe("monosemantic", words) == f"Fires for one thing: {named}."


def test_senses_with_the_same_word_say_what_stands_beside_it() -> None:
    report = make_report("polysemantic", {" bank": 5, "bank": 5})
    report["senses"][0]["tokens"] = [
        {"token": " of", "text": " of", "at": "near"},
        {"token": " money", "text": " money", "at": "near"},
    ]
    report["senses"][1]["tokens"] = [{"token": " river", "text": " river", "at": "near"}]

    assert describe_tail(report, "positive") == (
        "Fires for two unrelated things: the word “bank” near “money” (50 %) and the word “bank” "
        "near “river” (50 %)."
    )


def test_peaks_at_the_start_are_about_the_start() -> None:
    report = make_report("monosemantic", {" a| b| c| d| e": 1})
    for context in report["contexts"]:
        context["position"] = 0

    assert describe_tail(report, "positive") == "Fires for one thing: the first token of a text."


def test_thin_evidence_is_said() -> None:
    assert (
        describe("insufficient_evidence", {" an": 3})
        == "Too little evidence: 3 contexts, and 20 are needed."
    )
    assert describe("insufficient_evidence", {}) == "Never fired on this text."


def test_a_neuron_of_which_nothing_is_known_says_why() -> None:
    assert describe("not_finite", {}) == (
        "Its activations are not finite numbers: nothing can be said of it."
    )
