from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from contract.errors import DamagedFile
from contract.results import BINS, REPORTS, ZERO_BIN, histogram_edges
from service.reports import build_report
from service.results import Vocabulary

TEXTS = ["a", " b", "c"]
VOCABULARY = Vocabulary(pa.array(TEXTS), pa.array(["a", "b", "c"]))


def make_row(**changes: Any) -> dict[str, Any]:
    """A report row by hand, with one context whose peak is its second token."""
    row: dict[str, Any] = {f.name: None for f in REPORTS} | {
        "layer": 1,
        "neuron": 7,
        "hook": "blocks.1.mlp.hook_post",
        "status": "not_scored",
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
                "display_start": 3,
                "tokens": [0, 1, 2],
                "activations": [0.0, 2.0, 0.5],
            }
        ],
    }
    return row | changes


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
    assert build_report(make_row(promoted=logits, suppressed=[]), "job_1", "m", VOCABULARY)["logits"] == {
        "promoted": [{"token": "c", "token_id": 2, "logit": 1.5}],
        "suppressed": [],
    }


def test_a_neuron_without_contexts_is_still_a_report() -> None:
    report = build_report(make_row(contexts=[], peak_tokens=None, histogram=[]), "job_1", "m", VOCABULARY)

    assert (report["contexts"], report["peak_tokens"], report["stats"]["histogram"]["counts"]) == ([], [], [])


def test_a_token_beyond_the_vocabulary_is_damage() -> None:
    with pytest.raises(DamagedFile):
        build_report(make_row(peak_tokens=[{"token": 3, "count": 1, "mean": 1.0, "max": 1.0}]), "j", "m", VOCABULARY)
