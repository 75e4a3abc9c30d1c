from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from polyseme.contract.errors import ResultDamaged
from polyseme.contract.files.results import BINS, REPORTS, ZERO_BIN, histogram_edges
from polyseme.service.results.reports import build_report, build_tree, find_medians
from polyseme.service.results.scalars import Vocabulary

TEXTS = ["a", " b", "c"]
VOCABULARY = Vocabulary(pa.array(TEXTS), frozenset({0}))


def make_row(**changes: Any) -> dict[str, Any]:
    """A report row by hand, with one context whose peak is its second token."""
    row: dict[str, Any] = {f.name: None for f in REPORTS} | {
        "head": None,
        "head_dimension": None,
        "layer": 1,
        "neuron": 7,
        "hook": "blocks.1.mlp.hook_post",
        "status": "not_scored",
        "meaning": "Senses were not asked for.",
        "n_tokens": 10,
        "density": 0.5,
        "near_duplicates": 2,
        "quantiles": [float(i) for i in range(9)],
        "histogram_first": ZERO_BIN,
        "histogram": [3, 4],
        "peak_tokens": [{"token": 1, "count": 1, "mean": 2.0, "max": 2.0}],
        "contexts": [
            {
                "tail": "positive",
                "sample": "top",
                "band": None,
                "document": 0,
                "window": 5,
                "position": 4,
                "char_start": 9,
                "char_end": 11,
                "activation": 2.0,
                "sense": None,
                "display_start": 3,
                "tokens": [0, 1, 2],
                "activations": [0.0, 2.0, 0.5],
                "text": " b \u65e5",
                "peak_start": 0,
                "peak_end": 2,
                "token_starts": [None, 0, 3],
                "token_ends": [None, 2, 4],
            }
        ],
    }
    return row | changes


def test_a_context_says_what_stands_in_the_document() -> None:
    context = build_report(make_row(), "job_1", "m", VOCABULARY)["contexts"][0]

    assert (context["text"], context["peak_span"]) == (" b \u65e5", [0, 2])
    assert context["spans"] == [None, [0, 2], [3, 4]]
    assert context["special"] == [0]


def test_a_part_of_a_character_is_said_as_the_contexts_have_it() -> None:
    vocabulary = Vocabulary(pa.array(["a", " b", "<0xE6>"]), frozenset())
    peaks = [{"token": t, "count": 1, "mean": 1.0, "max": 1.0} for t in (1, 2)]

    found = build_report(make_row(peak_tokens=peaks), "job_1", "m", vocabulary)["peak_tokens"]

    assert [(p["token"], p["text"]) for p in found] == [(" b", " b"), ("<0xE6>", "\u65e5")]


def test_a_peak_on_a_special_token_stands_nowhere() -> None:
    row = make_row()
    row["contexts"][0] |= {"peak_start": None, "peak_end": None}

    assert build_report(row, "job_1", "m", VOCABULARY)["contexts"][0]["peak_span"] is None


def test_a_context_has_text_and_says_where_its_peak_is() -> None:
    context = build_report(make_row(), "job_1", "m", VOCABULARY)["contexts"][0]

    assert context["tokens"] == TEXTS
    assert (context["peak"], context["tokens"][context["peak"]]) == (1, " b")
    assert context["activations"][context["peak"]] == context["activation"]
    assert context["char_span"] == [9, 11]


def test_a_histogram_has_the_edges_of_its_bins() -> None:
    histogram = build_report(make_row(), "job_1", "m", VOCABULARY)["stats"]["histogram"]

    assert histogram == {"edges": histogram_edges()[ZERO_BIN : ZERO_BIN + 3], "counts": [3, 4]}
    assert histogram["edges"][:2] == [0.0, 0.0]
    assert len(histogram_edges()) == BINS + 1


def test_quantiles_are_named_by_their_share() -> None:
    quantiles = build_report(make_row(), "job_1", "m", VOCABULARY)["stats"]["quantiles"]

    assert (quantiles["0.001"], quantiles["0.5"], quantiles["0.999"]) == (0.0, 4.0, 8.0)


def test_an_encoder_has_no_logits_and_a_decoder_has_both_sides() -> None:
    logits = [{"token": 2, "logit": 1.5}]

    assert build_report(make_row(), "job_1", "m", VOCABULARY)["logits"] is None
    assert build_report(make_row(promoted=logits, suppressed=[]), "job_1", "m", VOCABULARY)[
        "logits"
    ] == {
        "promoted": [{"token": "c", "token_id": 2, "logit": 1.5}],
        "suppressed": [],
    }


def test_a_neuron_without_contexts_is_still_a_report() -> None:
    report = build_report(
        make_row(contexts=[], peak_tokens=None, histogram=[]), "job_1", "m", VOCABULARY
    )

    assert (report["contexts"], report["peak_tokens"], report["stats"]["histogram"]["counts"]) == (
        [],
        [],
        [],
    )


def test_a_token_beyond_the_vocabulary_is_damage() -> None:
    with pytest.raises(ResultDamaged):
        build_report(
            make_row(peak_tokens=[{"token": 3, "count": 1, "mean": 1.0, "max": 1.0}]),
            "j",
            "m",
            VOCABULARY,
        )


def make_sense(**changes: Any) -> dict[str, Any]:
    sense: dict[str, Any] = {
        "tail": "positive",
        "sense": 0,
        "name": "the word “b”",
        "share": 1.0,
        "languages": [{"language": "Latin", "share": 1.0}],
        "size": 1,
        "replication": 0.9,
        "sure": True,
        "broad": 0,
        "within": 0.8,
        "between": None,
        "medoid": 0,
        "activation_min": 2.0,
        "activation_median": 2.0,
        "activation_max": 2.0,
        "lexical_diversity": 1.0,
        "auprc": 0.5,
        "auprc_baseline": 0.1,
        "tokens": [{"token": 1, "at": "peak", "count": 1, "z": 3.0}],
    }
    return sense | changes


SCORES = {
    "score_percentile": 0.1,
    "effective_senses": 1.0,
    "sense_count": 1,
    "broad_count": 1,
    "sure_count": 1,
    "unrelated": None,
    "coverage": 1.0,
    "coverage_percentile": 0.9,
    "selectivity": 4.0,
    "selectivity_percentile": 0.99,
    "monosemanticity_score": 0.4,
}


def make_grouped_row(**changes: Any) -> dict[str, Any]:
    """The row by hand with its one context in one sense."""
    row = make_row()
    row["contexts"][0]["sense"] = 0
    scores = {
        "status": "monosemantic",
        "same_at": 0.35,
        "polysemanticity": 0.0,
        "polysemanticity_low": 0.0,
        "polysemanticity_high": 0.0,
        **SCORES,
    }
    return row | scores | {"senses": [make_sense()], "merges": []} | changes


def test_a_score_comes_with_its_interval_and_its_place_among_control_units() -> None:
    scores = build_report(make_grouped_row(), "job_1", "m", VOCABULARY)["polysemanticity"]

    assert scores == {"same_at": 0.35, "score": 0.0, "interval": [0.0, 0.0], **SCORES}


def test_too_little_evidence_gives_no_score() -> None:
    row = make_grouped_row(
        status="insufficient_evidence", polysemanticity=None, polysemanticity_low=None
    )

    report = build_report(row, "job_1", "m", VOCABULARY)

    assert (report["polysemanticity"]["score"], report["polysemanticity"]["interval"]) == (
        None,
        None,
    )


def test_a_sense_names_its_tokens_and_contexts() -> None:
    sense = build_report(make_grouped_row(), "job_1", "m", VOCABULARY)["senses"][0]

    assert sense["tokens"] == [
        {"token": " b", "token_id": 1, "text": " b", "at": "peak", "count": 1, "z": 3.0}
    ]
    assert (sense["name"], sense["languages"][0]["language"]) == ("the word “b”", "Latin")
    assert sense["contexts"] == [0]
    assert sense["activation"] == {"min": 2.0, "median": 2.0, "max": 2.0}


def test_the_negative_tail_has_its_own_scores_senses_and_sentence() -> None:
    row = make_grouped_row(
        negative_status="monosemantic",
        negative_meaning="Goes below zero in this text for one thing: the word “b” (75 %).",
        negative_coverage=0.75,
        negative_sense_count=1,
    )
    row["contexts"].append(row["contexts"][0] | {"tail": "negative", "activation": -2.0})
    row["senses"] = [make_sense(), make_sense(tail="negative", medoid=1)]

    report = build_report(row, "job_1", "m", VOCABULARY)

    assert report["negative"]["polysemanticity"]["coverage"] == 0.75
    assert report["senses"][1]["contexts"] == [1]
    assert report["senses"][1]["activation"]["max"] == -2.0
    assert report["negative"]["meaning"].startswith("Goes below zero in this text for one thing")


def test_without_senses_there_are_no_scores() -> None:
    report = build_report(make_row(), "job_1", "m", VOCABULARY)

    assert (report["polysemanticity"], report["negative"], report["senses"]) == (None, None, [])
    assert report["meaning"] == "Senses were not asked for."


EVIDENCE = {
    "tail": "positive",
    "sample": "activation",
    "band": None,
    "document": 3,
    "window": 6,
    "position": 2,
    "char_start": 5,
    "char_end": 7,
    "activation": 0.5,
    "token": 1,
    "sense": 0,
}


def test_a_context_beyond_the_shown_ones_has_its_place_and_token() -> None:
    report = build_report(make_grouped_row(evidence=[EVIDENCE]), "job_1", "m", VOCABULARY)

    assert report["evidence"] == [
        {name: EVIDENCE[name] for name in EVIDENCE if name not in ("char_start", "char_end")}
        | {"char_span": [5, 7], "token": " b", "token_id": 1, "text": " b"}
    ]
    assert (report["senses"][0]["contexts"], report["senses"][0]["evidence"]) == ([0], [0])


def test_a_tree_lists_the_contexts_at_its_leaves() -> None:
    row = make_grouped_row(
        merges=[{"left": 0, "right": 1, "same_at": 0.2}],
        evidence=[EVIDENCE | {"tail": "negative"}, EVIDENCE],
    )
    first = row["contexts"][0]
    row["contexts"] = [first, first | {"activation": -1.0}, first | {"tail": "negative"}]

    tree = build_tree(row, "job_1", "positive", 4, {"polysemanticity": 0.6})

    assert (tree["contexts"], tree["evidence"]) == ([0], [1])
    assert tree["merges"] == [{"left": 0, "right": 1, "same_at": 0.2}]
    assert (tree["score"], tree["control_score"]) == (0.0, 0.6)
    # Two contexts are too little evidence.
    assert all(p["coverage"] is None for p in tree["curve"] if not p["exact"])


def test_the_medians_of_control_units_are_those_of_the_layer() -> None:
    layers = [{"layer": 1}, {"layer": 2, "controls": {"medians": {"coverage": 0.5}}}]

    assert find_medians({"layers": layers}, 2) == {"coverage": 0.5}
    assert find_medians({"layers": layers}, 1) == {}


def test_a_latent_says_whose_it_is_and_how_long_its_decoder_row() -> None:
    row = make_row(layer=5, decoder_norm=2.5)
    of = {"site": "dictionary", "dictionaries": {3: "post-3", 5: "post-5"}}

    report = build_report(row, "job_1", "m", VOCABULARY, **of)

    assert (report["site"], report["dictionary"], report["decoder_norm"]) == (
        "dictionary",
        "post-5",
        2.5,
    )
    other = build_report(make_row(), "job_1", "m", VOCABULARY)
    assert (other["dictionary"], other["decoder_norm"]) == (None, None)
