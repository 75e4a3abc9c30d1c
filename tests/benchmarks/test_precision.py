"""How far two lists of contexts agree, on lists of which that is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.precision import TopLists, compare
from polyseme.contract.records.request import AnalysisRequest
from polyseme.workers.analysis.run import run_analysis
from tests.factories import make_texts
from tests.tiny_models import NEURONS, load_tiny


def lists(*contexts: tuple[int, int, int, float]) -> TopLists:
    """Of (neuron, window, position, activation)."""
    neuron, window, position, activation = (
        np.array(column) for column in zip(*contexts, strict=True)
    )
    return TopLists(neuron, window, position, activation)


def test_lists_agree_by_what_they_share() -> None:
    ours = lists(
        (0, 1, 5, 9.0),
        (0, 2, 5, 8.0),
        (0, 3, 5, 7.0),
        (0, 4, 5, 6.0),
        (2, 1, 1, 1.0),
        (3, 1, 1, 1.0),
    )
    theirs = lists(
        (0, 2, 5, 9.0),
        (0, 1, 5, 8.0),
        (0, 3, 5, 7.0),
        (0, 4, 6, 6.0),
        (1, 1, 1, 1.0),
        (3, 1, 1, 1.0),
    )

    found = compare(ours, theirs, 4)

    assert found.contexts.tolist() == [0.75, 1.0]
    assert found.windows.tolist() == [1.0, 1.0]
    assert found.first.tolist() == [False, True]
    assert found.order[0] == pytest.approx(0.5)
    assert np.isnan(found.order[1])


def test_the_lists_of_a_result_are_its_top_contexts_and_agree_with_themselves(
    tmp_path: Path,
) -> None:
    model = load_tiny("llama", tmp_path / "model")
    contexts = {"window": 32, "top_k": 5, "tails": "both"}
    request = AnalysisRequest.from_dict(
        {"model": model.card.id, "corpus": {"id": "c"}, "contexts": contexts}
    )
    run_analysis(model, request, make_texts(40, seed=1), tmp_path / "result")

    found = TopLists.read(tmp_path / "result", 1)
    itself = compare(found, found, NEURONS)

    sizes = np.bincount(found.neuron, minlength=NEURONS)
    starts = np.cumsum(sizes) - sizes
    falls = np.diff(found.activation) <= 0
    falls[starts[1:] - 1] = True
    assert (sizes.max(), sizes.min() > 0, falls.all()) == (5, True, True)
    assert itself.contexts.min() == itself.windows.min() == itself.first.min() == 1
    assert np.nanmin(itself.order) == pytest.approx(1)
