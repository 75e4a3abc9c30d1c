"""A summary of a table written by hand."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from polyseme.contract.files.results import GHOST_SCALARS, SCALARS
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
        make_neuron(5, 0.25, status="described", sense_count=1),
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
        "described": 1,
    }
    assert found["senses"] == {"3": 1}
    assert [(x["layer"], x["neurons"], x["dead"]) for x in found["layers"]] == [
        (2, 2, 1),
        (5, 1, 0),
    ]
    assert found["distributions"]["density"]["median"] == 0.25
    assert sum(found["distributions"]["density"]["counts"]) == 3
    assert found["distributions"]["kurtosis"] == {"edges": [], "counts": [], "median": None}


def test_control_units_are_summed_up_beside_the_neurons() -> None:
    neurons = [make_neuron(layer, 0.5) for layer in (2, 5)]
    blank = dict.fromkeys(GHOST_SCALARS.names)
    controls = [
        blank | {"layer": 2, "status": "described", "polysemanticity": 0.5, "coverage": 0.25},
        blank | {"layer": 2, "status": "monosemantic", "polysemanticity": 0.7, "coverage": 0.75},
        blank | {"layer": 5, "status": "insufficient_evidence"},
    ]

    found = summarise(
        pa.Table.from_pylist(neurons, SCALARS),
        PLAN,
        controls=pa.Table.from_pylist(controls, GHOST_SCALARS),
    )

    own = found["controls"]
    assert (own["units"], own["statuses"]["described"], own["statuses"]["monosemantic"]) == (
        3,
        1,
        1,
    )
    assert own["medians"]["polysemanticity"] == (0.5 + 0.7) / 2
    assert own["medians"]["effective_senses"] is None
    first, second = (layer["controls"] for layer in found["layers"])
    assert (first["units"], first["medians"]["coverage"]) == (2, 0.5)
    assert (second["units"], second["medians"]["coverage"]) == (1, None)


def test_what_nearly_all_neurons_of_a_layer_fire_for_is_said_once() -> None:
    start, other = "Fires in this text for the start of a text.", "Fires in this text for “a”."
    rows = [
        *(make_neuron(0, 0.5, meaning=start) for _ in range(10)),
        *(make_neuron(1, 0.5, meaning=start) for _ in range(9)),
        make_neuron(1, 0.5, meaning=other),
        *(make_neuron(2, 0.5, meaning=m) for m in (start, other)),
        make_neuron(3, 0.5, meaning=None),
    ]

    [note] = summarise(pa.Table.from_pylist(rows, SCALARS), PLAN)["notes"]

    assert note.startswith("Nearly all neurons of layers 0-1 fire for the start of a text")
    assert summarise(pa.Table.from_pylist(rows[20:], SCALARS), PLAN)["notes"] == []


def test_the_most_selective_neurons_are_its_examples() -> None:
    rows = [
        make_neuron(0, 0.5, neuron=n, status=status, selectivity=s, meaning=f"Fires for {n}.")
        for n, (status, s) in enumerate(
            [
                *[("polysemantic", 1.0), ("described", 9.0), ("monosemantic", 3.0)],
                *[("polysemantic", 2.0)] * 4,
            ]
        )
    ]

    found = summarise(pa.Table.from_pylist(rows, SCALARS), PLAN)["examples"]

    assert [e["neuron"] for e in found] == [2, 3, 4, 5, 6]
    assert found[0] == {
        "layer": 0,
        "neuron": 2,
        "status": "monosemantic",
        "selectivity": 3.0,
        "meaning": "Fires for 2.",
    }


def test_tokens_left_out_as_sinks_are_counted_by_layer() -> None:
    rows = [
        make_neuron(layer, 0.5, neuron=n, n_tokens=tokens)
        for layer, tokens in ((0, 40), (2, 37))
        for n in range(2)
    ]
    neurons = pa.Table.from_pylist(rows, SCALARS)

    found, plain = (summarise(neurons, PLAN, excludes_sinks=given) for given in (True, False))

    assert found["excluded_sinks"] == 3
    assert [of["excluded_sinks"] for of in found["layers"]] == [0, 3]
    assert plain["excluded_sinks"] is None
    assert {of["excluded_sinks"] for of in plain["layers"]} == {None}
