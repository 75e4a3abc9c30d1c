"""Which layers a job takes over, and that its result is the same as without that, whatever happens
meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from polyseme.contract.board.board import Board
from polyseme.contract.files.results import MANIFEST
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.records.job import Job
from polyseme.contract.records.planned import Planned, cut_of, reader_of
from polyseme.workers import reuse
from polyseme.workers.pipelines import due_of
from polyseme.workers.reuse import Source, choose_sources, work_folder
from polyseme.workers.units import Runner
from tests.factories import add_corpus, make_request
from tests.tiny_models import LAYERS
from tests.workers.test_units import read_result, run_unit, run_what_is_due

CONTEXTS = {"window": 32, "top_k": 4}


def source(job: str, *layers: int, same: bool = True) -> Source:
    return Source(job, frozenset(layers), same)


@pytest.mark.parametrize(
    ("wanted", "sources", "chosen"),
    [
        ([0, 1], [], {}),
        ([0, 1], [source("a", 2, 3)], {}),
        ([0, 1, 2], [source("a", 0, 1, 9)], {"a": (0, 1)}),
        ([0, 1], [source("a", 0, 1), source("b", 0, 1)], {"a": (0, 1)}),  # the one that ended last
        ([0, 1, 2], [source("a", 0), source("b", 0, 1), source("c", 2)], {"b": (0, 1), "c": (2,)}),
        ([0, 1, 2], [source("a", 0, 1, 2, same=False), source("b", 1)], {"b": (1,), "a": (0, 2)}),
        ([0], [source("a", 1), source("b", 0, same=False)], {"b": (0,)}),
    ],
)
def test_sources_are_chosen(
    wanted: list[int], sources: Sequence[Source], chosen: dict[str, tuple[int, ...]]
) -> None:
    assert choose_sources(wanted, sources) == chosen


def test_each_decision_has_a_folder_of_its_own() -> None:
    decisions: list[dict[str, tuple[int, ...]]] = [
        {},
        {"job_a": (0,)},
        {"job_a": (0, 1)},
        {"job_b": (0,)},
    ]
    folders = [work_folder("job_x", reused) for reused in decisions]

    assert folders[0] == Layout.work("job_x")
    assert len(set(folders)) == 4
    assert all(folder.startswith(folders[0]) for folder in folders)


def submit(board: Board, store: Store, tenant: str = "default", **changes: Any) -> str:
    corpus = add_corpus(board, store)
    if tenant != "default":
        store.write(Layout.documents(corpus.id, tenant), store.read(Layout.documents(corpus.id)))
        board.registry.add_corpus(corpus, tenant)
    body = {"model": "tiny-llama", "contexts": CONTEXTS} | changes
    return board.jobs.open(make_request(**body), tenant=tenant).job


class Bench:
    """Jobs run one after the other by one worker."""

    def __init__(self, board: Board, store: Store, runner: Runner) -> None:
        self.board, self.store, self.runner = board, store, runner

    def submit(self, tenant: str = "default", **changes: Any) -> str:
        return submit(self.board, self.store, tenant, **changes)

    def find(self, job: str) -> Job:
        found = self.board.jobs.get(job)
        assert found is not None
        return found

    def run(self, job: str) -> Job:
        run_what_is_due(self.board, self.runner, job)
        found = self.find(job)
        assert (found.status, found.error) == ("succeeded", None)
        return found

    def make(self, tenant: str = "default", **changes: Any) -> Job:
        return self.run(self.submit(tenant, **changes))

    def forget(self, job: str) -> None:
        self.board.jobs.delete_record(job)
        self.store.delete(Layout.result(job))

    def assert_as_scanned(self, job: str, **changes: Any) -> None:
        """That the job's result is that of one that scans all layers."""
        found, wanted = (
            read_result(self.store, j) for j in (job, self.make(reuse=False, **changes).id)
        )
        ours, theirs = (json.loads(files.pop(MANIFEST)) for files in (found, wanted))
        for manifest in (ours, theirs):
            del manifest["seal"], manifest["reused"]
        assert ours == theirs
        assert found == wanted


@pytest.fixture
def bench(board: Board, store: Store, runner: Runner) -> Bench:
    return Bench(board, store, runner)


def test_the_same_job_again_scans_nothing(bench: Bench) -> None:
    first = bench.make()
    job = bench.submit()

    ran = run_what_is_due(bench.board, bench.runner, job)

    again = bench.find(job)
    assert ran == ["plan", *(f"merge:{i}" for i in range(LAYERS)), "close"]
    assert again.reused == {first.id: tuple(range(LAYERS))}
    assert (again.progress.tokens_total, again.progress.tokens_per_second) == (0, None)
    bench.assert_as_scanned(job)


def test_layers_are_added_to_those_that_are_there(bench: Bench) -> None:
    first = bench.make(neurons={"layers": [1]})

    job = bench.make()

    assert job.reused == {first.id: (1,)}
    assert job.progress.tokens_done == job.progress.tokens_total != 0
    bench.assert_as_scanned(job.id)


@pytest.mark.parametrize(
    ("before", "after", "layers"),
    [
        ({}, {"senses": {"alpha": 0.3}}, (0, 1, 2)),
        (
            {},
            {"senses": {"vectors": "window"}, "priority": "high", "metadata": {"a": "b"}},
            (0, 1, 2),
        ),
        ({}, {"senses": {"enabled": False}}, ()),
        ({}, {"contexts": CONTEXTS | {"top_k": 5}}, ()),
        ({}, {"neurons": {"indices": [0, 1]}}, ()),
        ({"senses": {"enabled": False}}, {}, ()),
        (
            {"neurons": {"indices": [0, 1]}},
            {"neurons": {"indices": "0-1", "layers": "0,2"}},
            (0, 2),
        ),
    ],
)
def test_what_was_scanned_alike_is_taken_over(
    bench: Bench, before: dict[str, Any], after: dict[str, Any], layers: tuple[int, ...]
) -> None:
    first = bench.make(**before)

    job = bench.make(**after)

    assert job.reused == ({first.id: layers} if layers else {})
    bench.assert_as_scanned(job.id, **after)


def test_several_results_serve_one_job(bench: Bench) -> None:
    jobs = [
        bench.make(neurons={"layers": [layer]}, senses={"alpha": alpha})
        for layer, alpha in ((0, 0.05), (2, 0.3))
    ]

    job = bench.make(neurons={"layers": [0, 2]})

    assert job.reused == {jobs[0].id: (0,), jobs[1].id: (2,)}
    assert job.progress.tokens_total == 0
    bench.assert_as_scanned(job.id, neurons={"layers": [0, 2]})


def test_a_job_that_is_to_scan_does_and_is_a_source_all_the_same(bench: Bench) -> None:
    bench.make()

    job = bench.make(reuse=False)

    assert job.reused == {}
    assert bench.make().reused == {job.id: tuple(range(LAYERS))}


def test_tenants_take_nothing_from_each_other(bench: Bench) -> None:
    bench.make()

    theirs = bench.make("acme")

    assert theirs.reused == {}
    assert bench.make("acme").reused == {theirs.id: tuple(range(LAYERS))}


def test_a_source_that_is_deleted_once_the_plan_is_made_is_not_missed(bench: Bench) -> None:
    first = bench.make(neurons={"layers": "0-1"})
    job = bench.submit()
    run_unit(bench.runner, job, "plan")

    bench.forget(first.id)

    assert bench.run(job).reused == {first.id: (0, 1)}
    bench.assert_as_scanned(job)


def test_a_source_whose_files_are_gone_is_passed_over(bench: Bench) -> None:
    first = bench.make(neurons={"layers": "0-1"})
    second = bench.make(neurons={"layers": "0-1"}, reuse=False)
    bench.store.delete(Layout.result(second.id))

    job = bench.make()

    assert job.reused == {first.id: (0, 1)}
    bench.assert_as_scanned(job.id)


def test_a_plan_made_twice_by_two_workers_that_decide_differently_is_one_plan(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bench.make(neurons={"layers": "0-1"})
    job = bench.submit()
    copy = reuse.copy_result

    def stall(*args: Any, **options: Any) -> None:
        """The first worker loses its lease while it copies. The second finds the source gone."""
        copy(*args, **options)
        monkeypatch.setattr(reuse, "copy_result", copy)
        bench.board._redis.delete(f"polyseme:job:{job}:flight", f"polyseme:job:{job}:leases")
        bench.forget(first.id)
        run_unit(bench.runner, job, "plan")

    monkeypatch.setattr(reuse, "copy_result", stall)
    run_unit(bench.runner, job, "plan")

    assert bench.run(job).reused == {}
    bench.assert_as_scanned(job)


def test_units_that_run_twice_change_no_byte(bench: Bench) -> None:
    first = bench.make(neurons={"layers": [2]})
    job = bench.submit()
    while not (found := bench.find(job)).is_terminal:
        due = due_of(found, bench.board.units.list_done(job))
        assert due is not None
        unit = due.units[0]
        run_unit(bench.runner, job, unit)
        bench.board.units.reopen(job, unit)
        run_unit(bench.runner, job, unit)

    assert (found.status, found.reused) == ("succeeded", {first.id: (2,)})
    bench.assert_as_scanned(job)


def spoil(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("name", "damage", "alpha"),
    [
        ("reports/layer-001.parquet", spoil, 0.3),
        ("reports/layer-001.parquet", spoil, 0.05),
        ("reports/layer-000.parquet", None, 0.05),
        ("vectors.parquet", spoil, 0.3),
        ("fires/layer-000.npz", spoil, 0.05),
        ("neurons.parquet", None, 0.3),
        ("manifest.json", None, 0.05),
    ],
)
def test_a_copy_that_is_damaged_is_made_again(
    bench: Bench, name: str, damage: Callable[[bytes], bytes] | None, alpha: float
) -> None:
    first = bench.make(neurons={"layers": "0-1"})
    job = bench.submit(senses={"alpha": alpha})
    run_unit(bench.runner, job, "plan")
    path = f"{work_folder(job, {first.id: (0, 1)})}/reused/{first.id}/{name}"
    content = bench.store.read(path)
    bench.store.delete(path)
    if damage:
        bench.store.write(path, damage(content))

    assert bench.run(job).reused == {first.id: (0, 1)}
    bench.assert_as_scanned(job, senses={"alpha": alpha})


def test_a_damaged_copy_of_a_source_that_is_gone_is_scanned_instead(bench: Bench) -> None:
    first = bench.make(neurons={"layers": "0-1"})
    job = bench.submit()
    run_what_is_due(bench.board, bench.runner, job, until="scan:2")
    bench.store.delete(
        f"{work_folder(job, {first.id: (0, 1)})}/reused/{first.id}/reports/layer-001.parquet"
    )
    bench.forget(first.id)

    ended = bench.run(job)

    assert ended.reused == {}
    assert ended.progress.shards_done == ended.progress.shards_total
    assert ended.progress.tokens_done == ended.progress.tokens_total
    bench.assert_as_scanned(job)


def test_a_model_has_its_speed_from_jobs_that_scan_all_of_it(bench: Bench, board: Board) -> None:
    # Of so small blocks the corpus has enough.
    bench.runner = replace(bench.runner, settings=replace(bench.runner.settings, block_tokens=32))

    def speed() -> float | None:
        card = board.registry.get_card("tiny-llama")
        assert card is not None
        return card.tokens_per_second

    bench.make(neurons={"layers": [0]})
    for changes in ({}, {}, {"senses": {"alpha": 0.3}}):
        assert bench.make(**changes).reused
        assert speed() is None

    bench.make(reuse=False)

    measured = speed()
    assert measured is not None
    for part in ({"neurons": {"indices": [0]}}, {"tokens": {"max_tokens": 300}}):
        bench.make(reuse=False, **part)
        assert speed() == measured


def test_what_a_whole_corpus_has_of_tokens_is_known_once_it_is_planned(
    bench: Bench, board: Board
) -> None:
    def planned() -> Mapping[str, Planned]:
        card, corpus = (
            board.registry.get_card("tiny-llama"),
            board.registry.get_corpus("notes"),
        )
        assert card is not None
        assert corpus is not None
        return board.registry.list_planned("notes", "default", reader_of(card, corpus))

    bench.make(tokens={"max_tokens": 300})
    assert planned() == {}

    job = bench.make()

    known = planned()[cut_of(job.analysis)]
    assert known.tokens == job.progress.tokens_total
    board.registry.delete_corpus("notes")
    assert board.registry.list_planned("notes", "default", "") == {}


def test_a_job_that_ran_on_unlike_workers_is_no_source(bench: Bench) -> None:
    job = bench.submit()
    run_what_is_due(bench.board, bench.runner, job, until="scan:0")
    other = replace(bench.runner, settings=replace(bench.runner.settings, block_tokens=512))
    run_unit(other, job, "scan:0")

    ended = bench.run(job)

    assert ended.scan_address == ""
    assert bench.make().reused == {}
