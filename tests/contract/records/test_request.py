"""A request on the wire and back."""

from __future__ import annotations

import json

import pytest

from polyseme.contract.records.alpha import same_at_of
from polyseme.contract.records.request import AnalysisRequest
from tests.factories import make_request


def test_a_request_comes_back_from_its_json() -> None:
    request = make_request(
        neurons={"layers": [1, 2]}, contexts={"tails": "both"}, metadata={"a": "b"}
    )

    assert AnalysisRequest.from_dict(json.loads(json.dumps(request.to_dict()))) == request
    assert request.neurons.layers == (1, 2)
    assert request.tails == ("positive", "negative")
    assert make_request().tails == ("positive",)


def test_all_is_shown_that_was_asked_for_unless_the_request_says_how_much() -> None:
    def shown(**contexts: int) -> int:
        return make_request(contexts=contexts).contexts.shown

    assert shown() == shown(top_k=5) == shown(top_k=5, sampled=20) == 20
    assert shown(top_k=50) == shown(top_k=5, sampled=50) == 50
    assert shown(top_k=50, sampled=60, shown=7) == 7


def test_bands_alone_are_of_equal_width() -> None:
    assert make_request().contexts.sampling == "activation"
    assert make_request(contexts={"bands": 4}).contexts.sampling == "interval"
    assert make_request(contexts={"bands": 4, "sampling": "quantile"}).contexts.sample_lists == 4
    assert make_request(contexts={"bands": 4, "sampling": "activation"}).contexts.sample_lists == 1


def test_a_request_of_before_there_was_reuse_reads_as_one_that_allows_it() -> None:
    old = {name: value for name, value in make_request().to_dict().items() if name != "reuse"}

    assert AnalysisRequest.from_dict(old) == make_request()
    assert not AnalysisRequest.from_dict(old | {"reuse": False}).reuse


@pytest.mark.parametrize(
    ("alpha", "same_at"),
    [(0.001, 0.8), (0.02, 0.5), (0.05, 0.35), (0.1, 0.25), (0.5, 0.05), (0.6, 0.05), (0.0001, 0.8)],
)
def test_an_alpha_reads_as_the_same_at_of_the_table(alpha: float, same_at: float) -> None:
    assert same_at_of(alpha) == pytest.approx(same_at)
    assert make_request(senses={"alpha": alpha}) == make_request(senses={"same_at": same_at})


def test_between_two_rows_of_the_table_the_logarithm_of_alpha_counts() -> None:
    assert same_at_of((0.05 * 0.1) ** 0.5) == pytest.approx(0.3)
    alphas = [0.001 * 1.07**i for i in range(90)]
    assert [same_at_of(a) for a in alphas] == sorted(map(same_at_of, alphas), reverse=True)


def test_a_record_of_an_older_service_is_readable() -> None:
    record = make_request().to_dict() | {
        "senses": {"enabled": True, "alpha": 0.05, "min_contexts": 4, "vectors": "neuron"}
    }

    assert AnalysisRequest.from_record(record) == make_request()


def test_the_encoders_vectors_are_another_name_of_the_residual_ones() -> None:
    assert make_request(senses={"vectors": "residual+encoder"}) == make_request()
