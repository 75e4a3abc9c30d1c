from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from polyseme.contract.errors import InvalidRequest
from polyseme.contract.files.columns import LISTED
from polyseme.contract.files.store import Store
from polyseme.service.results.queries import Page, plan_query, read_ranges, run_query
from polyseme.service.results.reports import build_report
from polyseme.service.results.result import Results
from polyseme.service.results.scalars import Scalars, Vocabulary
from tests.factories import make_manifest, make_vocabulary, write_result

JOB = "job_" + "1" * 28


@pytest.fixture
def results(store: Store, tmp_path: Path) -> Results:
    write_result(store, JOB, seed=3)
    return Results(store, str(tmp_path))


def rows_of(scalars: Scalars) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = scalars.table.append_column(
        "peak_token_ids", scalars.peaks["peak_token_ids"]
    ).to_pylist()
    return found


def run(results: Results, args: dict[str, Any], offset: int = 0, limit: int = 1000) -> Page:
    return run_query(plan_query(args), results.scalars(JOB), results.vocabulary(JOB), offset, limit)


def sorted_plainly(
    rows: list[dict[str, Any]], name: str, descending: bool
) -> list[tuple[int, int]]:
    """The order by definition: nulls last, ties by layer and neuron."""
    rows = sorted(rows, key=lambda r: (r["layer"], r["neuron"]))
    there = [r for r in rows if r[name] is not None]
    there.sort(key=lambda r: r[name], reverse=descending)
    if descending:  # a reversed sort keeps the order of equals
        assert all(a[name] >= b[name] for a, b in itertools.pairwise(there))
    return [(r["layer"], r["neuron"]) for r in [*there, *(r for r in rows if r[name] is None)]]


@pytest.mark.parametrize("name", [c for c in LISTED if c not in ("layer", "neuron")])
@pytest.mark.parametrize("sign", ["", "-"])
def test_any_column_sorts_as_a_plain_sort_does(results: Results, name: str, sign: str) -> None:
    page = run(results, {"sort": sign + name})

    assert [(r["layer"], r["neuron"]) for r in page.rows] == sorted_plainly(
        rows_of(results.scalars(JOB)), name, sign == "-"
    )


def make_of_heads(store: Store, tmp_path: Path) -> Results:
    """48 units a layer, 12 of each head."""
    site = {"site": "z", "units": 48, "hook": "blocks.{layer}.attn.hook_z", "head_size": 12}
    write_result(store, JOB, seed=3, manifest=make_manifest() | {"site": site})
    return Results(store, str(tmp_path))


def test_units_of_heads_sort_and_filter_by_head_and_dimension(store: Store, tmp_path: Path) -> None:
    results = make_of_heads(store, tmp_path)

    page = run(
        results, {"sort": "head_dimension,-head", "min_head": 1, "max_head": 2, "layer": "3"}
    )

    places = [(r["head_dimension"], r["head"]) for r in page.rows]
    assert places == [(d, h) for d in range(12) for h in (2, 1)]
    assert all(r["neuron"] == 12 * r["head"] + r["head_dimension"] for r in page.rows)


def test_a_report_says_in_which_head_its_unit_lies(store: Store, tmp_path: Path) -> None:
    results = make_of_heads(store, tmp_path)
    vocabulary = results.vocabulary(JOB)

    report = build_report(results.report(JOB, 1, 29), JOB, "m", vocabulary)
    every = [build_report(row, JOB, "m", vocabulary) for row in results.rows(JOB, 1)]

    assert (report["head"], report["head_dimension"]) == (2, 5)
    assert [(r["head"], r["head_dimension"]) for r in every] == [divmod(n, 12) for n in range(48)]


def test_units_of_other_sites_lie_in_no_head(results: Results) -> None:
    page = run(results, {"layer": "0", "fields_": "neuron,head,head_dimension"})
    report = build_report(results.report(JOB, 0, 3), JOB, "m", results.vocabulary(JOB))

    assert page.rows[3] == {"neuron": 3, "head": None, "head_dimension": None}
    assert (report["head"], report["head_dimension"]) == (None, None)
    assert run(results, {"min_head": 0}).total == 0


def test_several_columns_sort_one_after_the_other(results: Results) -> None:
    page = run(results, {"sort": "near_duplicates,-max"})

    keys = [(r["near_duplicates"], -r["max"]) for r in page.rows]
    assert keys == sorted(keys)


def test_a_meaning_is_found_by_a_part_of_it_in_capitals_or_not(
    store: Store, tmp_path: Path
) -> None:
    write_result(store, JOB, seed=3, senses=True)
    results = Results(store, str(tmp_path))

    found = run(results, {"meaning": "THE WORD “Bank”", "fields_": "meaning,status"})
    none = run(results, {"meaning": "the word “ban”"})
    literal = run(results, {"meaning": "the .ord"})

    assert 0 < found.total < 192
    assert all("the word “bank”" in row["meaning"] for row in found.rows)
    assert (none.total, literal.total) == (0, 0)


def test_pages_put_together_are_the_whole(results: Results) -> None:
    whole = run(results, {"sort": "-std"})

    offset: int | None = 0
    rows = []
    while offset is not None:
        page = run(results, {"sort": "-std"}, offset, 7)
        rows += page.rows
        offset = page.next_offset

    assert rows == whole.rows
    assert whole.total == 192


@pytest.mark.parametrize(
    ("args", "passes"),
    [
        ({"layer": "0-1,3"}, lambda r: r["layer"] in (0, 1, 3)),
        ({"neuron": "5"}, lambda r: r["neuron"] == 5),
        ({"status": "not_scored"}, lambda r: True),
        ({"status": "insufficient_evidence"}, lambda r: False),
        ({"min_density": 0.5, "max_density": 0.7}, lambda r: 0.5 <= r["density"] <= 0.7),
        ({"max_skewness": 0.0}, lambda r: r["skewness"] is not None and r["skewness"] <= 0),
        (
            {"min_near_duplicates": 2.0, "layer": "2"},
            lambda r: r["near_duplicates"] >= 2 and r["layer"] == 2,
        ),
    ],
)
def test_filters_keep_what_a_plain_loop_keeps(
    results: Results, args: dict[str, Any], passes: Any
) -> None:
    page = run(results, args)

    wanted = {(r["layer"], r["neuron"]) for r in rows_of(results.scalars(JOB)) if passes(r)}
    assert {(r["layer"], r["neuron"]) for r in page.rows} == wanted
    assert page.total == len(wanted)


@pytest.mark.parametrize("token", ["river", " river", "the ", "nothing"])
def test_a_token_is_found_whatever_space_is_around_it(results: Results, token: str) -> None:
    ids = {i for i, text in enumerate(make_vocabulary()) if text.strip() == token.strip()}

    page = run(results, {"token": token})

    rows = rows_of(results.scalars(JOB))
    wanted = {(r["layer"], r["neuron"]) for r in rows if ids & set(r["peak_token_ids"])}
    assert {(r["layer"], r["neuron"]) for r in page.rows} == wanted


def find_peaking_on(token: str, ids: list[Any], texts: list[Any]) -> list[int]:
    """The neurons of three with these peaks that `token` finds."""
    table = pa.table({name: [0, 0, 0] if name != "neuron" else [0, 1, 2] for name in LISTED})
    peaks = {"peak_token_ids": pa.array(ids, pa.list_(pa.int32()))}
    peaks["peak_texts"] = pa.array(texts, pa.list_(pa.string()))
    vocabulary = Vocabulary(pa.array(["a", "b", "c", "d", " b"]), frozenset())
    scalars = Scalars(table, lambda: pa.table(peaks))
    page = run_query(plan_query({"token": token}), scalars, vocabulary, 0, 10)
    return [r["neuron"] for r in page.rows]


def test_neurons_without_peaks_do_not_shift_those_with_them() -> None:
    assert find_peaking_on("b", [[], None, [4, 1]], [None, [], []]) == [2]


def test_a_token_is_found_by_what_the_documents_say_there() -> None:
    ids, texts = [[0], [2], [1]], [["日"], None, ["B", "日"]]

    assert find_peaking_on(" 日", ids, texts) == [0, 2]
    assert find_peaking_on("B", ids, texts) == [2]
    assert find_peaking_on("c", ids, texts) == [1]


def test_only_the_columns_asked_for_come(results: Results) -> None:
    page = run(results, {"fields_": "neuron,max"}, limit=1)

    assert list(page.rows[0]) == ["neuron", "max"]


@pytest.mark.parametrize(
    ("args", "pointer"),
    [
        ({"layer": "x"}, "/layer"),
        ({"layer": "3-1"}, "/layer"),
        ({"neuron": "1 OR 1=1"}, "/neuron"),
        ({"layer": "١"}, "/layer"),
        ({"sort": "max; DROP TABLE neurons"}, "/sort"),
        ({"sort": ""}, "/sort"),
        ({"sort": "max,-max"}, "/sort"),
        ({"sort": "peak_token_ids"}, "/sort"),
        ({"fields_": "*"}, "/fields"),
    ],
)
def test_a_query_that_cannot_run_is_refused(args: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        plan_query(args)

    assert [d.pointer for d in caught.value.details] == [pointer]


def test_ranges_alone_are_read_likewise() -> None:
    assert read_ranges("0-3,14", "layer") == (0, 3, 14, 14)
    with pytest.raises(InvalidRequest):
        read_ranges("-1", "layer")
