"""Files of a result that are lost or changed while its job runs, or after it: the job makes them
again, or another does.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from polyseme.contract.board.board import Board
from polyseme.contract.files.results import MANIFEST, NEURONS
from polyseme.contract.files.seals import find_damage, parse_manifest, seals_of
from polyseme.contract.files.store import Layout, Store
from polyseme.workers.scheduler import Scheduler
from polyseme.workers.units import Runner
from tests.factories import open_job
from tests.tiny_models import LAYERS
from tests.workers.test_units import (
    DAMAGES,
    finish_job,
    harm,
    open_tiny_job,
    run_unit,
    run_what_is_due,
)

OF_LAYERS = ("reports/layer-001.parquet", "fires/layer-002.npz", "ghosts/layer-000.parquet")


def read_files(store: Store, job: str) -> dict[str, bytes]:
    folder = Layout.result(job)
    return {name: store.read(f"{folder}/{name}") for name in store.file_sizes(folder)}


def assert_whole(store: Store, job: str) -> None:
    folder = Layout.result(job)
    seals = seals_of(parse_manifest(store.read(f"{folder}/{MANIFEST}")))
    assert seals.keys() == store.file_sizes(folder).keys() - {MANIFEST}
    assert find_damage(store, folder, seals) == {}


@pytest.fixture
def whole(board: Board, store: Store, runner: Runner) -> dict[str, bytes]:
    """The files of an undisturbed job."""
    job = open_tiny_job(board, store)
    finish_job(board, runner, job)
    return read_files(store, job)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_layer_that_is_damaged_before_the_end_is_merged_again(
    board: Board, store: Store, runner: Runner, whole: dict[str, bytes], damage: str
) -> None:
    job = open_tiny_job(board, store)
    run_what_is_due(board, runner, job, until="close")
    for name in OF_LAYERS:
        harm(store, f"{Layout.result(job)}/{name}", damage)

    ran = run_what_is_due(board, runner, job)

    assert {"merge:0", "merge:1", "merge:2"} == {unit for unit in ran if unit != "close"}
    assert read_files(store, job) == whole
    assert_whole(store, job)
    ended = board.jobs.get(job)
    assert ended is not None
    assert (ended.status, ended.progress.layers_done) == ("succeeded", LAYERS)


@pytest.mark.parametrize("name", [*OF_LAYERS, NEURONS, MANIFEST])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_job_does_not_succeed_with_what_was_lost_after_its_last_unit(
    board: Board,
    store: Store,
    runner: Runner,
    monkeypatch: pytest.MonkeyPatch,
    whole: dict[str, bytes],
    name: str,
    damage: str,
) -> None:
    job = open_tiny_job(board, store)
    run_what_is_due(board, runner, job, until="close")
    with monkeypatch.context() as patch:
        patch.setattr(Scheduler, "advance", lambda *_: None)
        run_unit(runner, job, "close")
    harm(store, f"{Layout.result(job)}/{name}", damage)

    runner.scheduler.advance(job)
    still = board.jobs.get(job)
    run_what_is_due(board, runner, job)

    assert still is not None
    assert still.status == "running"
    assert read_files(store, job) == whole
    assert_whole(store, job)


def test_a_layer_that_is_damaged_each_time_fails_its_job(
    board: Board, store: Store, runner: Runner
) -> None:
    job = open_tiny_job(board, store)
    run_what_is_due(board, runner, job, until="close")
    for _ in range(3):
        harm(store, f"{Layout.result(job)}/{OF_LAYERS[0]}", "cut off")
        run_unit(runner, job, "close")
        run_what_is_due(board, runner, job, until="close")

    ended = board.jobs.get(job)
    assert ended is not None
    assert ended.error is not None
    assert (ended.status, ended.error["code"]) == ("failed", "too_many_attempts")
    assert OF_LAYERS[0] in ended.error["detail"]


@pytest.mark.parametrize("name", [*OF_LAYERS, NEURONS, MANIFEST])
def test_a_job_submitted_again_scans_what_is_damaged_alone(
    board: Board, store: Store, runner: Runner, name: str
) -> None:
    first = open_tiny_job(board, store)
    finish_job(board, runner, first)
    files = read_files(store, first)
    harm(store, f"{Layout.result(first)}/{name}", "flipped")

    again = open_job(board, model="tiny-llama", contexts={"window": 32, "top_k": 4}).id
    run_what_is_due(board, runner, again)

    ended, found = board.jobs.get(again), read_files(store, again)
    assert ended is not None
    kept = {job: len(layers) for job, layers in ended.reused.items()}
    assert kept == ({first: LAYERS - 1} if name in OF_LAYERS else {})
    del files[MANIFEST], found[MANIFEST]
    assert found == files
    assert_whole(store, again)


def test_new_senses_of_a_damaged_result_are_refused_by_its_name(
    board: Board, store: Store, runner: Runner
) -> None:
    first = open_tiny_job(board, store)
    finish_job(board, runner, first)
    harm(store, f"{Layout.result(first)}/vectors.parquet", "flipped")
    source = board.jobs.get(first)
    assert source is not None
    request = replace(source.analysis, source_job=first)

    again = board.jobs.open(request).job
    run_what_is_due(board, runner, again)

    ended = board.jobs.get(again)
    assert ended is not None
    assert ended.error is not None
    assert (ended.status, ended.error["code"]) == ("failed", "damaged_file")
    assert "vectors.parquet" in json.dumps(ended.error)
