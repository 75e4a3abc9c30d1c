from __future__ import annotations

from typing import Any

import pytest

from polyseme.service.results.plain_words import describe_tail


def make_report(
    status: str, words: dict[str, int], coverage: float = 1.0, **changes: Any
) -> dict[str, Any]:
    """A sense for each key, its peaks the words in it, separated by "|", each so many times. One
    whose key begins with "?" is tentative; those with the same letter before a ":" are of one broad
    sense.
    """
    contexts, senses = [], []
    total = sum(count * len(key.split("|")) for key, count in words.items())
    broads: dict[str, int] = {}
    for number, (key, count) in enumerate(words.items()):
        field, _, said = key.lstrip("?").rpartition(":")
        peaks = said.split("|") * count
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
            {
                "tail": "positive",
                "sense": number,
                "share": len(peaks) / total,
                "tokens": [],
                "sure": not key.startswith("?"),
                "broad": broads.setdefault(field or key, len(broads)),
            }
        )
    scores = {"coverage": coverage, "selectivity_percentile": 0.99, "unrelated": True}
    scores |= changes.pop("scores", {})
    return {
        "status": status,
        "contexts": contexts,
        "evidence": [],
        "senses": senses,
        "polysemanticity": scores,
    } | changes


def describe(*arguments: Any, **changes: Any) -> str:
    return describe_tail(make_report(*arguments, **changes), "positive")


def test_several_senses_are_named_with_their_shares() -> None:
    assert describe("polysemantic", {" May| June| July": 4, " that": 4, ".": 4}) == (
        "Fires in this text for three unrelated things: words such as “may”, “june” and “july” "
        "(60 %), the word “that” (20 %) and the sign “.” (20 %)."
    )


def test_a_peak_on_a_token_that_stands_for_nothing_has_its_name() -> None:
    report = make_report("monosemantic", {" an": 5})
    for context in report["contexts"]:
        context |= {"tokens": ["[CLS]"], "peak_span": None}

    assert (
        describe_tail(report, "positive") == "Fires in this text for one thing: the word “[cls]”."
    )


def test_one_sense_is_one_thing() -> None:
    assert describe("monosemantic", {" An| an": 5}) == (
        "Fires in this text for one thing: the word “an”."
    )


def test_what_fits_no_sense_is_said() -> None:
    assert describe("monosemantic", {" an": 5}, 0.7) == (
        "Fires in this text for one thing: the word “an”. Another 30 % of its firing fits none of "
        "them."
    )


def test_more_senses_than_can_be_named_are_counted() -> None:
    sentence = describe("polysemantic", {" a": 4, " b": 4, " c": 4, " d": 4, " e": 4})

    assert sentence.startswith("Fires in this text for five unrelated things: the word “a” (20 %)")
    assert sentence.endswith("and 2 more.")


def test_senses_of_one_broad_one_are_one_thing_of_several() -> None:
    sentence = describe("polysemantic", {"a: may": 4, "a: june": 4, " that": 2})

    assert sentence == (
        "Fires in this text for two unrelated things: the word “may” or the word “june” (80 %) and "
        "the word “that” (20 %)."
    )


def test_where_all_are_of_one_broad_sense_they_are_kinds_of_it() -> None:
    assert describe("polysemantic", {"a: may": 4, "a: june": 4}) == (
        "Fires in this text for two kinds of one thing: the word “may” (50 %) and the word “june” "
        "(50 %)."
    )


def test_things_that_are_near_each_other_are_not_called_unrelated() -> None:
    assert describe("polysemantic", {" may": 8, " june": 2}, scores={"unrelated": False}) == (
        "Fires in this text for two things: the word “may” (80 %) and the word “june” (20 %)."
    )


def test_a_tentative_sense_is_no_thing_of_the_claim() -> None:
    assert describe("monosemantic", {" an": 8, "? of": 2}) == (
        "Fires in this text for one thing: the word “an”. Perhaps also for the word “of”."
    )


def test_what_is_only_described_is_set_beside_random_directions() -> None:
    usual = {"selectivity_percentile": 0.4}

    assert describe("described", {" an": 5}, 0.4, scores=usual) == (
        "Its strongest contexts in this text are about the word “an”, but random directions do as "
        "much: it is more selective than 40 % of them."
    )
    assert describe("described", {}, 0.0, scores=usual) == (
        "Its contexts in this text have no meaning in common; it is more selective than 40 % of "
        "random directions."
    )


def test_a_selective_unit_may_have_nothing_that_is_sure() -> None:
    assert describe("described", {"? an": 5}) == (
        "Its strongest contexts in this text are about the word “an”, but none of that is sure to "
        "come again in other text."
    )
    assert describe("described", {}) == "Its contexts in this text have no meaning in common."


def test_without_control_units_there_is_nothing_to_compare_with() -> None:
    assert describe("described", {" an": 5}, scores={"selectivity_percentile": None}) == (
        "Its strongest contexts in this text are about the word “an”; there are no random "
        "directions to compare it with."
    )


def test_a_sense_none_of_whose_contexts_is_shown_has_a_name_all_the_same() -> None:
    report = make_report("monosemantic", {" an": 5})
    report["evidence"] = [
        {"tail": "positive", "sense": 0, "activation": 1.0, "position": 3, "text": " An"}
        for _ in report.pop("contexts")
    ]
    report["contexts"] = []

    assert describe_tail(report, "positive") == "Fires in this text for one thing: the word “an”."


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
    assert describe("monosemantic", words) == f"Fires in this text for one thing: {named}."


def test_senses_with_the_same_word_say_what_stands_beside_it() -> None:
    report = make_report("polysemantic", {" bank": 5, "bank": 5})
    report["senses"][0]["tokens"] = [
        {"token": " of", "text": " of", "at": "near"},
        {"token": " money", "text": " money", "at": "near"},
    ]
    report["senses"][1]["tokens"] = [{"token": " river", "text": " river", "at": "near"}]

    assert describe_tail(report, "positive") == (
        "Fires in this text for two unrelated things: the word “bank” near “money” (50 %) and the "
        "word “bank” near “river” (50 %)."
    )


def test_peaks_at_the_start_are_about_the_start() -> None:
    report = make_report("monosemantic", {" a| b| c| d| e": 1})
    for context in report["contexts"]:
        context["position"] = 0

    assert describe_tail(report, "positive") == (
        "Fires in this text for one thing: the first token of a text."
    )


def test_thin_evidence_is_said() -> None:
    assert (
        describe("insufficient_evidence", {" an": 3})
        == "Too little evidence in this text: 3 contexts, and 10 are needed."
    )
    assert describe("insufficient_evidence", {}) == "Never fired in this text."


def test_a_neuron_of_which_nothing_is_known_says_why() -> None:
    assert describe("not_finite", {}) == (
        "Its activations are not finite numbers: nothing can be said of it."
    )
