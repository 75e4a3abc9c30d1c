from __future__ import annotations

from typing import Any

import pytest

from polyseme.contract.errors import InvalidRequest, TooFewDocuments, UnknownLayer
from polyseme.contract.settings import Settings
from polyseme.service.jobs.checks import check_request
from polyseme.service.jobs.fitting import fit_request
from tests.factories import make_card, make_corpus, make_request


def check(
    card: dict[str, Any] | None = None, corpus: dict[str, Any] | None = None, **body: Any
) -> None:
    found = make_corpus(**corpus or {})
    made = make_card(**card or {})
    request = fit_request(make_request(**body), body, made, found.documents)
    check_request(request, made, found, Settings())


def test_a_request_with_defaults_passes() -> None:
    check()


@pytest.mark.parametrize(
    ("body", "card", "corpus", "pointer"),
    [
        ({"neurons": {"layers": "0-4"}}, {}, {}, "/neurons/layers"),
        ({"neurons": {"layers": "3-1"}}, {}, {}, "/neurons/layers"),
        ({"neurons": {"layers": "1;2"}}, {}, {}, "/neurons/layers"),
        ({"neurons": {"indices": [48]}}, {}, {}, "/neurons/indices"),
        ({"neurons": {"site": "attn"}}, {}, {}, "/neurons/site"),
        ({"contexts": {"window": 513}}, {}, {}, "/contexts/window"),
        ({"contexts": {"window": 2049}}, {"max_positions": None}, {}, "/contexts/window"),
        ({"contexts": {"window": 16, "display_tokens": 17}}, {}, {}, "/contexts/display_tokens"),
        ({"contexts": {"packing": "concat"}}, {"separator": False}, {}, "/contexts/packing"),
        ({"contexts": {"top_k": 201, "per_document": None}}, {}, {}, "/contexts/top_k"),
        ({"contexts": {"top_k": 20}}, {}, {"documents": 19}, "/contexts/top_k"),
        ({"contexts": {"sampled": 7, "bands": 5}}, {}, {}, "/contexts/sampled"),
        ({"contexts": {"shown": 201}}, {}, {}, "/contexts/shown"),
        ({"tokens": {"exclude_positions": 128}}, {}, {}, "/tokens/exclude_positions"),
        ({"tokens": {"bos": "always"}}, {"bos": "none"}, {}, "/tokens/bos"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_pointer(
    body: dict[str, Any], card: dict[str, Any], corpus: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check(card, corpus, **body)

    assert [d.pointer for d in caught.value.details] == [pointer]


def test_a_single_problem_keeps_its_own_code() -> None:
    with pytest.raises(UnknownLayer, match="it has 0 to 3"):
        check(neurons={"layers": [4]})


def test_all_problems_come_at_once() -> None:
    with pytest.raises(InvalidRequest) as caught:
        check(
            neurons={"layers": [9], "indices": [99]},
            contexts={"window": 4096, "sampled": 3, "bands": 2},
        )

    assert [d.pointer for d in caught.value.details] == [
        "/neurons/layers",
        "/neurons/indices",
        "/contexts/window",
        "/contexts/sampled",
    ]


def test_who_has_too_few_documents_is_told_what_lifts_the_limit() -> None:
    with pytest.raises(
        TooFewDocuments, match=r"has 1 document\. Send \"contexts\": \{\"per_document\": null\}"
    ):
        check(corpus={"documents": 1}, contexts={"top_k": 2})


def test_k_beyond_the_corpus_is_allowed_without_a_limit_a_document() -> None:
    check(corpus={"documents": 1}, contexts={"per_document": None})
