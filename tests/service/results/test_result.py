from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyseme.contract.errors import Gone, NotFound, ResultDamaged
from polyseme.contract.files.results import NEURONS, SCALARS, report_file
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.settings import Settings
from polyseme.service.results.result import PAGE_BYTES, Results, WrittenPage
from tests.client.standins import wait_until
from tests.factories import seal_result, write_result

JOB = "job_" + "0" * 28


@pytest.fixture
def results(store: Store, tmp_path: Path) -> Results:
    write_result(store, JOB, layers=(1, 3), neurons=tuple(range(0, 300, 2)))
    return Results(store, str(tmp_path / "cache"))


def test_a_report_is_found_in_any_row_group(results: Results, store: Store) -> None:
    rows = pq.read_table(store.local_path(f"{Layout.result(JOB)}/{report_file(3)}")).to_pylist()

    for place in (0, 63, 64, 149):
        in_no_head = {"head": None, "head_dimension": None}
        assert results.report(JOB, 3, 2 * place) == rows[place] | in_no_head


def test_a_warmed_result_needs_its_files_no_more(results: Results, store: Store) -> None:
    results.warm(JOB)
    wait_until(lambda: (JOB, 3) in results._reports)
    store.delete(Layout.result(JOB))

    assert results.layers(JOB) == [1, 3]
    assert results.report(JOB, 3, 4)["neuron"] == 4


def test_small_tables_count_with_what_they_take_beside_their_values(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyseme.service.results.result.TABLE_BYTES", 4 * 65536)
    jobs = [f"job_{i:028x}" for i in range(4)]
    results = Results(store, str(tmp_path / "cache"))
    for job in jobs:
        write_result(store, job, neurons=(0, 1))
        results.scalars(job)

    assert [job in results._scalars for job in jobs] == [False, True, True, True]


def test_pages_are_kept_up_to_a_size(results: Results) -> None:
    rows, made = b"x" * PAGE_BYTES, []

    def ask(job: str, place: int, size: int) -> None:
        results.page(job, place, lambda: made.append(place) or WrittenPage(rows[:size], 1, None))  # type: ignore[func-returns-value]

    for place in (1, 2, 3, 1, 4):
        ask(JOB, place, PAGE_BYTES // 3)

    assert made == [1, 2, 3, 1, 4]  # with what each takes beside its rows, two fit
    assert results._pages.weight <= PAGE_BYTES


def test_warming_what_is_not_there_harms_nothing(results: Results) -> None:
    results.warm("job_" + "1" * 28)
    results.warm(JOB)
    wait_until(lambda: JOB in results._vocabularies)


def test_a_forgotten_job_leaves_no_report_behind(results: Results, store: Store) -> None:
    results.report(JOB, 1, 0)
    store.delete(Layout.result(JOB))

    results.forget(JOB)

    with pytest.raises(Gone):
        results.report(JOB, 1, 0)


@pytest.mark.parametrize(("layer", "neuron"), [(1, 1), (1, 300), (2, 0)])
def test_a_neuron_that_was_not_asked_for_is_not_found(
    results: Results, layer: int, neuron: int
) -> None:
    with pytest.raises(NotFound):
        results.report(JOB, layer, neuron)


def test_threads_read_reports_of_one_file_together(results: Results) -> None:
    neurons = [2 * (i % 150) for i in range(300)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: results.report(JOB, 1, n)["neuron"], neurons))

    assert found == neurons


def test_a_result_whose_files_are_gone_says_so(results: Results, store: Store) -> None:
    store.delete(Layout.result(JOB))

    with pytest.raises(Gone):
        results.scalars(JOB)


def test_the_lists_of_peak_tokens_are_those_of_the_file(results: Results, store: Store) -> None:
    stored = pq.read_table(store.local_path(f"{Layout.result(JOB)}/{NEURONS}"))[
        "peak_token_ids"
    ].to_pylist()

    scalars = results.scalars(JOB)

    assert not {"peak_token_ids", "peak_texts"} & set(scalars.table.column_names)
    assert any(stored)
    assert scalars.peaks["peak_token_ids"].to_pylist() == stored


def test_lists_lost_since_the_scalars_were_read_are_gone(results: Results, store: Store) -> None:
    scalars = results.scalars(JOB)
    store.delete(Layout.result(JOB))

    with pytest.raises(Gone):
        _ = scalars.peaks


def test_files_that_do_not_fit_each_other_are_damaged(results: Results, store: Store) -> None:
    path = f"{Layout.result(JOB)}/{report_file(1)}"
    rows = pq.read_table(store.local_path(path))
    with store.writing(path) as f:
        pq.write_table(rows.slice(1), f)
    seal_result(store, JOB)

    with pytest.raises(ResultDamaged):
        results.report(JOB, 1, 0)


def test_another_layers_file_is_damage(results: Results, store: Store) -> None:
    one, three = (f"{Layout.result(JOB)}/{report_file(layer)}" for layer in (1, 3))
    store.write(one, Path(store.local_path(three)).read_bytes())
    seal_result(store, JOB)

    with pytest.raises(ResultDamaged):
        results.report(JOB, 1, 0)


def test_rows_of_a_layer_come_in_order(results: Results) -> None:
    assert [row["neuron"] for row in results.rows(JOB, 1)] == list(range(0, 300, 2))
    assert results.layers(JOB) == [1, 3]


def test_a_forgotten_job_is_read_anew(results: Results, store: Store) -> None:
    before = results.scalars(JOB)
    results.report(JOB, 1, 0)

    results.forget(JOB)

    assert results.scalars(JOB) is not before


def test_numbers_that_json_cannot_hold_are_null_in_lists(results: Results, store: Store) -> None:
    path = f"{Layout.result(JOB)}/{NEURONS}"
    table = pq.read_table(store.local_path(path))
    column = pa.array([float("nan"), *[1.0] * (len(table) - 1)], pa.float64())
    with store.writing(path) as f:
        pq.write_table(table.set_column(SCALARS.get_field_index("mean"), "mean", column), f)
    seal_result(store, JOB)

    assert results.scalars(JOB).table["mean"].to_pylist()[:2] == [None, 1.0]


@pytest.fixture
def remote(store: Store) -> Iterator[Store]:
    """A store that is not on this machine's disk, as far as the code can tell."""
    memory = Store(f"memory://results-{threading.get_ident()}")
    write_result(memory, JOB, layers=(0,), neurons=(0, 1))
    yield memory
    fsspec.filesystem("memory").rm("/", recursive=True)


def test_files_of_a_remote_store_are_copied_once(remote: Store, tmp_path: Path) -> None:
    results = Results(remote, str(tmp_path / "cache"))

    first = results.report(JOB, 0, 1)
    (copy,) = (tmp_path / "cache").rglob("layer-000.parquet")
    copied_at = copy.stat().st_mtime_ns

    assert first["neuron"] == 1
    assert Results(remote, str(tmp_path / "cache")).report(JOB, 0, 1) == first
    assert copy.stat().st_mtime_ns == copied_at
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def test_a_result_missing_from_a_remote_store_is_gone(remote: Store, tmp_path: Path) -> None:
    remote.delete(Layout.result(JOB))

    with pytest.raises(Gone):
        Results(remote, str(tmp_path / "cache")).report(JOB, 0, 1)


def test_reading_a_result_loads_no_library_late(results: Results, settings: Settings) -> None:
    code = f"""
import sys
from polyseme.service.wsgi import app
before = set(sys.modules)
results = app.extensions["polyseme"].results
results.report({JOB!r}, 1, 2)
results.vocabulary({JOB!r}).ids_of("river")
results.vocabulary({JOB!r}).read([0])
results.scalars({JOB!r}).order([("mean", "ascending")])
print(*(set(sys.modules) - before))
"""
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | settings.to_environ(),
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert (found.stdout.split(), found.returncode) == ([], 0), found.stderr
