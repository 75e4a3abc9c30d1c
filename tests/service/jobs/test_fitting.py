from __future__ import annotations

from typing import Any

import pytest

from polyseme.contract.records.request import Contexts
from polyseme.service.jobs.fitting import fit_contexts
from tests.factories import make_request


def fit(documents: int, **sent: Any) -> Contexts:
    return fit_contexts(make_request(contexts=sent), sent, documents).contexts


def test_a_default_is_lowered_to_the_documents() -> None:
    assert (fit(59).top_k, fit(59).shown) == (59, 20)
    assert (fit(12).top_k, fit(12).shown) == (12, 12)
    assert (fit(60).top_k, fit(60).shown) == (60, 20)


@pytest.mark.parametrize("sent", [{"top_k": 20}, {"per_document": None}])
def test_what_was_sent_is_left(sent: dict[str, Any]) -> None:
    assert fit(3, **sent) == make_request(contexts=sent).contexts


def test_shown_is_left_when_it_was_sent() -> None:
    assert fit(3, shown=7).shown == 7
