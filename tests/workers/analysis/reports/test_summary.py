"""A summary of a table written by hand."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from polyseme.contract.files.results import SCALARS
from polyseme.workers.analysis.reports.summary import summarise

PLAN = {"documents": 3, "windows": 4, "tokens": 50, "counted_tokens": 40}


def make_neuron(layer: int, density: float, **values: Any) -> dict[str, Any]:
    return (
        dict.fromkeys(SCALARS.names)
        | {"layer": layer, "density": density, "status": "not_scored"}
        | values
    )


def test_neurons_are_counted_by_layer_and_status_and_dead_ones_too() -> None:
    rows = [
        make_neuron(2, 0.5, status="polysemantic", sense_count=3),
        make_neuron(2, 0.0, status="insufficient_evidence"),
        make_neuron(5, 0.25, status="incoherent", sense_count=1),
    ]

    found = summarise(pa.Table.from_pylist(rows, SCALARS), PLAN)

    assert (found["neurons"], found["dead"], found["tokens"], found["counted_tokens"]) == (
        3,
        1,
        50,
        40,
    )
    assert {n: c for n, c in found["statuses"].items() if c} == {
        "polysemantic": 1,
        "insufficient_evidence": 1,
        "incoherent": 1,
    }
    assert found["senses"] == {"3": 1}
    assert [(x["layer"], x["neurons"], x["dead"]) for x in found["layers"]] == [
        (2, 2, 1),
        (5, 1, 0),
    ]
    assert found["distributions"]["density"]["median"] == 0.25
    assert sum(found["distributions"]["density"]["counts"]) == 3
    assert found["distributions"]["kurtosis"] == {"edges": [], "counts": [], "median": None}
