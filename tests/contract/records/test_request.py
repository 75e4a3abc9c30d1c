"""A request on the wire and back."""

from __future__ import annotations

import json

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


def test_a_request_of_before_there_was_reuse_reads_as_one_that_allows_it() -> None:
    old = {name: value for name, value in make_request().to_dict().items() if name != "reuse"}

    assert AnalysisRequest.from_dict(old) == make_request()
    assert not AnalysisRequest.from_dict(old | {"reuse": False}).reuse
