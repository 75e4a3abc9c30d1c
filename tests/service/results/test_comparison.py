from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from polyseme.contract.errors import OtherText
from polyseme.contract.files.results import GHOSTS, NEURONS, SUMMARY
from polyseme.contract.files.store import Layout, Store
from polyseme.service.results.comparison import compare_results, count_common
from polyseme.service.results.result import Results
from polyseme.service.results.unit_groups import Group
from tests.factories import make_manifest, write_result

FIRST, SECOND = "job_" + "1" * 28, "job_" + "2" * 28


@pytest.fixture
def results(store: Store, tmp_path: Path) -> Results:
    write_result(store, FIRST, senses=True, controls=16)
    manifest = make_manifest((1, 2), neurons={"layers": "1-2"}, senses={"same_at": 0.5})
    write_result(store, SECOND, senses=True, layers=(1, 2), controls=16, seed=5, manifest=manifest)
    return Results(store, str(tmp_path))


def compare(results: Results) -> dict[str, Any]:
    return compare_results(results, (FIRST, SECOND))


def test_each_result_has_what_its_summary_says(results: Results, store: Store) -> None:
    found = compare(results)

    assert [r["job"] for r in found["results"]] == [FIRST, SECOND]
    for result in found["results"]:
        summary = json.loads(store.read(f"{Layout.result(result['job'])}/{SUMMARY}"))
        neurons, controls = result["neurons"], result["controls"]
        assert (neurons["units"], neurons["dead"]) == (summary["neurons"], summary["dead"])
        assert neurons["statuses"] == summary["statuses"]
        median = summary["distributions"]["polysemanticity"]["median"]
        assert neurons["score"]["quantiles"]["0.5"] == median
        assert controls["units"] == summary["controls"]["units"]
        assert controls["statuses"] == summary["controls"]["statuses"]
        of_chance = summary["controls"]["medians"]["polysemanticity"]
        assert controls["score"]["quantiles"]["0.5"] == of_chance


@pytest.mark.parametrize("name", ["neurons", "controls"])
def test_counts_and_differences_are_those_of_the_files(
    results: Results, store: Store, name: str
) -> None:
    file = {"neurons": NEURONS, "controls": GHOSTS}[name]
    tables = [
        pq.read_table(store.local_path(f"{Layout.result(job)}/{file}")).to_pylist()
        for job in (FIRST, SECOND)
    ]

    found = compare(results)

    for result, rows in zip(found["results"], tables, strict=True):
        evident = [r for r in rows if r["distinct_contexts"] >= 10]
        assert result[name]["with_evidence"] == len(evident)
        assert sum(result[name]["score"]["counts"]) == len(rows)
    shares = [sum(r["status"] == "polysemantic" for r in rows) / len(rows) for rows in tables]
    medians = [statistics.median(r["polysemanticity"] for r in rows) for rows in tables]
    difference = found["difference"][name]
    assert difference["polysemantic"]["difference"] == pytest.approx(shares[0] - shares[1])
    assert difference["median_score"]["difference"] == pytest.approx(medians[0] - medians[1])
    for ends in difference.values():
        assert ends["low"] <= ends["difference"] <= ends["high"]


def test_each_is_compared_with_its_own_control_units(results: Results) -> None:
    for result in compare(results)["results"]:
        medians = [result[name]["score"]["quantiles"]["0.5"] for name in ("neurons", "controls")]
        found = result["against_controls"]
        assert found["median_score"]["difference"] == pytest.approx(medians[0] - medians[1])
        shares = [result[name]["shares"]["polysemantic"] for name in ("neurons", "controls")]
        assert found["polysemantic"]["difference"] == pytest.approx(shares[0] - shares[1])


def test_the_other_way_round_the_differences_have_the_other_sign(results: Results) -> None:
    there, back = compare(results), compare_results(results, (SECOND, FIRST))

    for name, found in there["difference"]["neurons"].items():
        other = back["difference"]["neurons"][name]
        assert (found["low"], found["high"]) == pytest.approx((-other["high"], -other["low"]))
    assert back["results"] == there["results"][::-1]
    assert compare(results) == there


def test_what_is_unlike_and_what_is_in_both_is_told(results: Results) -> None:
    found = compare(results)

    assert {f["pointer"] for f in found["unlike"]} == {
        "/request/neurons/layers",
        "/request/senses/same_at",
    }
    assert found["units_in_both"] == 2 * 48


def test_units_of_other_weights_or_sites_are_none_of_the_same(results: Results) -> None:
    groups = [Group(results.scalars(job).table) for job in (FIRST, SECOND)]
    own, other = make_manifest(), make_manifest()
    other["model"] = other["model"] | {"weights_sha256": "b" * 64}
    elsewhere = make_manifest(neurons={"site": "resid_post"})

    assert count_common((own, own), groups) == 96
    assert count_common((own, other), groups) == 0
    assert count_common((own, elsewhere), groups) == 0


def over(*names: str, **changes: Any) -> dict[str, Any]:
    """The manifest of latents, one dictionary a layer from 0."""
    layers = range(len(names))
    neurons = {"site": "dictionary", "dictionary": names, "layers": list(layers)}
    return make_manifest(layers, neurons=neurons) | changes


def test_latents_are_the_same_where_their_layers_dictionary_is(results: Results) -> None:
    groups = [Group(results.scalars(FIRST).table)] * 2

    assert count_common((over("a", "b"), over("a", "b")), groups) == 4 * 48
    assert count_common((over("a", "b", "c", "d"), over("a", "b", "c", "e")), groups) == 3 * 48
    assert count_common((make_manifest(), over("a", "b", "c", "d")), groups) == 0


def test_one_id_of_other_files_is_another_dictionary(results: Results) -> None:
    groups = [Group(results.scalars(FIRST).table)] * 2
    one, other = (
        over("a", "b", "c", "d", dictionaries=[{"layer": n, "sha256": h * 64} for n in range(4)])
        for h in "12"
    )

    assert count_common((one, one), groups) == 4 * 48
    assert count_common((one, other), groups) == 0


def test_neurons_of_a_layer_are_compared_with_the_latents_of_its_dictionary(
    store: Store, tmp_path: Path
) -> None:
    latents = make_manifest((1,), neurons={"site": "dictionary", "dictionary": ["mlp-1"]})
    write_result(store, FIRST, senses=True, layers=(1,), manifest=make_manifest((1,)))
    write_result(
        store, SECOND, senses=True, layers=(1,), neurons=range(64), seed=3, manifest=latents
    )

    found = compare(Results(store, str(tmp_path)))

    assert found["units_in_both"] == 0
    assert [(r["site"], r["dictionary"]) for r in found["results"]] == [
        ("mlp", None),
        ("dictionary", ["mlp-1"]),
    ]
    assert [r["neurons"]["units"] for r in found["results"]] == [48, 64]
    assert found["difference"]["neurons"]["polysemantic"] is not None
    assert {"pointer": "/request/neurons/dictionary", "values": [None, ["mlp-1"]]} in [
        {**f, "values": [v if v is None else list(v) for v in f["values"]]}
        for f in found["unlike"]
        if f["pointer"].endswith("dictionary")
    ]


def test_results_without_senses_are_compared_by_their_counts_alone(
    store: Store, tmp_path: Path
) -> None:
    for job in (FIRST, SECOND):
        write_result(store, job)

    found = compare(Results(store, str(tmp_path)))

    assert found["difference"] == {
        "neurons": dict.fromkeys(
            ("polysemantic", "polysemantic_with_evidence", "median_score"), None
        ),
        "controls": None,
    }
    assert [r["controls"] for r in found["results"]] == [None, None]
    assert [r["against_controls"] for r in found["results"]] == [None, None]
    assert found["results"][0]["neurons"]["with_evidence"] == 192


def test_another_text_is_refused(results: Results, store: Store) -> None:
    manifest = make_manifest(contexts={"window": 64})
    write_result(store, SECOND, manifest=manifest)
    results.forget(SECOND)

    with pytest.raises(OtherText, match="window: 128 and 64"):
        compare(results)
