"""Units run on a real board, a real store and a tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from polyseme.contract.board.board import Board
from polyseme.contract.errors import AnalysisError, DamagedFile
from polyseme.contract.files.results import MANIFEST
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.names import DEFAULT_QUEUE
from polyseme.contract.records.job import (
    ACTIVATIONS,
    JOB_VERSION,
    ActivationsRequest,
)
from polyseme.workers.analysis.models.encoder import LazyEncoder
from polyseme.workers.device import DeviceLost
from polyseme.workers.pipelines import due_of
from polyseme.workers.scheduler import Scheduler
from polyseme.workers.units import Runner
from tests.factories import add_corpus, open_job, queue_alone, take_unit
from tests.tiny_models import LAYERS, save_model


def open_tiny_job(board: Board, store: Store) -> str:
    """One that scans, whatever was scanned before."""
    add_corpus(board, store)
    return open_job(board, model="tiny-llama", contexts={"window": 32, "top_k": 4}, reuse=False).id


def run_unit(runner: Runner, job: str, unit: str) -> None:
    """Runs one unit, out of turn."""
    queue_alone(runner.board, job, unit)
    runner.run_next(DEFAULT_QUEUE)


def finish_job(board: Board, runner: Runner, job: str) -> int:
    """Runs every unit. Returns the number of shards."""
    shards = scan_all(board, runner, job)
    for unit in [
        "background",
        "project:0",
        *(f"merge:{i}" for i in range(LAYERS)),
        "close",
    ]:
        run_unit(runner, job, unit)
    return shards


def test_a_job_is_done_by_its_units(board: Board, store: Store, runner: Runner) -> None:
    job = open_tiny_job(board, store)

    shards = finish_job(board, runner, job)

    found = board.jobs.get(job)
    assert found is not None
    assert (found.status, found.error) == ("succeeded", None)
    assert shards > 1
    assert found.progress.tokens_done == found.progress.tokens_total
    assert "manifest.json" in store.names(Layout.result(job))


def open_check(board: Board, job: str) -> str:
    request = ActivationsRequest(job, "tiny-llama", "the river and the bank", ((0, 1), (2, 3)), 50)
    return board.jobs.open(request).job


def test_a_live_check_of_a_finished_job_leaves_its_answer(
    board: Board, store: Store, runner: Runner
) -> None:
    job = open_tiny_job(board, store)
    finish_job(board, runner, job)
    check = open_check(board, job)

    run_unit(runner, check, "activate")

    found = board.jobs.get(check)
    assert found is not None
    assert (found.status, found.error) == ("succeeded", None)
    answer = json.loads(store.read(f"{Layout.result(check)}/{ACTIVATIONS}"))
    assert [(n["layer"], n["neuron"]) for n in answer["neurons"]] == [(0, 1), (2, 3)]
    assert found.progress.tokens_done == len(answer["tokens"])
    assert store.names(Layout.work(check)) == []


def test_a_live_check_of_a_job_that_was_deleted_fails_with_a_reason(
    board: Board, store: Store, runner: Runner
) -> None:
    check = open_check(board, "job_" + "0" * 28)

    run_unit(runner, check, "activate")

    found = board.jobs.get(check)
    assert found is not None
    assert found.error is not None
    assert "no longer there" in found.error["detail"]


def test_a_cancelled_live_check_is_not_run(board: Board, store: Store, runner: Runner) -> None:
    check = open_check(board, "job_" + "0" * 28)
    board.jobs.cancel(check)

    run_unit(runner, check, "activate")
    runner.scheduler.advance(check)

    found = board.jobs.get(check)
    assert found is not None
    assert (found.status, found.error) == ("cancelled", None)


def test_a_mistake_that_would_repeat_ends_the_job_at_once(
    board: Board, store: Store, runner: Runner
) -> None:
    job = open_tiny_job(board, store)
    board.registry.delete_corpus("notes")

    run_unit(runner, job, "plan")

    found = board.jobs.get(job)
    assert found is not None
    assert found.status == "failed"
    assert found.error is not None
    assert "was deleted" in found.error["detail"]


def test_a_draining_worker_gives_its_unit_back_uncounted(
    board: Board, store: Store, runner: Runner
) -> None:
    job = open_tiny_job(board, store)
    runner.draining.set()

    run_unit(runner, job, "plan")

    assert board.units.count_held(job) == 0
    assert board.units.list_done(job) == set()
    assert board.units.count_attempts(job) == {"plan": 0}


def test_a_ticket_runs_the_unit_whose_turn_it_is(
    board: Board, store: Store, runner: Runner
) -> None:
    job = open_tiny_job(board, store)
    board.jobs.cancel(open_tiny_job(board, store))
    runner.scheduler.advance_all()

    assert runner.run_next("default")
    assert board.units.list_done(job) == {"plan"}
    assert board.units.count_waiting()["default", "normal"] > 1


def test_a_ticket_too_many_runs_nothing(runner: Runner) -> None:
    assert not runner.run_next("default")


def test_a_ticket_of_another_queue_is_passed_on(board: Board, store: Store, runner: Runner) -> None:
    open_tiny_job(board, store)
    runner.scheduler.advance_all()
    sent: list[str] = []
    scheduler = Scheduler(board, store, sent.append, runner.settings)

    assert replace(runner, scheduler=scheduler).run_next("big")
    assert sent[0] == "big"


def test_units_are_counted_by_how_they_end(board: Board, store: Store, runner: Runner) -> None:
    job = open_tiny_job(board, store)
    run_unit(runner, job, "plan")
    board.jobs.cancel(job)
    refused = open_job(board, model="tiny-llama", corpus={"id": "gone"}).id
    stopped = open_tiny_job(board, store)

    run_unit(runner, job, "scan:0")
    run_unit(runner, refused, "plan")
    runner.draining.set()
    run_unit(runner, stopped, "plan")

    def count(outcome: str) -> float:
        labels = {"kind": "plan", "outcome": outcome}
        return runner.metrics.registry.get_sample_value("polyseme_units_total", labels) or 0.0

    assert [count(outcome) for outcome in ("done", "refused", "stopped")] == [1, 1, 1]
    assert (
        runner.metrics.registry.get_sample_value("polyseme_tokens_total", {"kind": "scan"}) is None
    )


def test_a_scans_tokens_are_counted(board: Board, store: Store, runner: Runner) -> None:
    job = open_tiny_job(board, store)

    finish_job(board, runner, job)

    found = board.jobs.get(job)
    assert found is not None
    counted = runner.metrics.registry.get_sample_value("polyseme_tokens_total", {"kind": "scan"})
    assert counted == found.progress.tokens_total


def scan_all(board: Board, runner: Runner, job: str) -> int:
    """Plans, calibrates and scans. Returns the number of shards."""
    run_what_is_due(board, runner, job, until="background")
    planned = board.jobs.get(job)
    assert planned is not None
    assert planned.progress.shards_total is not None
    return planned.progress.shards_total


def read_result(store: Store, job: str) -> dict[str, bytes]:
    folder = Layout.result(job)
    names = [*store.names(folder), *(f"reports/{n}" for n in store.names(f"{folder}/reports"))]
    return {n: store.read(f"{folder}/{n}") for n in names if "." in n}


def run_what_is_due(board: Board, runner: Runner, job: str, until: str | None = None) -> list[str]:
    """Runs units until the job ends or one is due, in the order of the scheduler, and gives their
    names.
    """
    ran: list[str] = []
    while True:
        found = board.jobs.get(job)
        assert found is not None
        if found.is_terminal:
            return ran
        due = due_of(found, board.units.list_done(job))
        assert due is not None
        unit = due.units[0]
        if unit == until:
            return ran
        assert len(ran) < 60, ran
        ran.append(unit)
        run_unit(runner, job, unit)


@pytest.fixture
def whole(board: Board, store: Store, runner: Runner) -> dict[str, bytes]:
    """The files of an undisturbed job."""
    job = open_tiny_job(board, store)
    finish_job(board, runner, job)
    return read_result(store, job)


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "flipped": flip,
    "cut off": lambda content: content[: len(content) * 2 // 3],
    "gone": lambda content: None,
}


def harm(store: Store, path: str, damage: str) -> None:
    content = DAMAGES[damage](store.read(path))
    if content is None:
        store.delete(path)
    else:
        store.write(path, content)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_made_again_and_changes_no_byte(
    board: Board, store: Store, runner: Runner, whole: dict[str, bytes], damage: str
) -> None:
    job = open_tiny_job(board, store)
    scan_all(board, runner, job)
    for name in (
        "partials/000001.npz",
        "vectors/000000.npz",
        "windows/000000.arrow",
        "plan.json",
        "bands.npz",
        "calibration/peaks-001.npz",
        "calibration/windows.npz",
    ):
        harm(store, f"{Layout.work(job)}/{name}", damage)

    ran = run_what_is_due(board, runner, job)

    ended = board.jobs.get(job)
    assert ended is not None
    assert (ended.status, ended.error) == ("succeeded", None)
    assert read_result(store, job) == whole
    assert {"plan", "calibrate:1", "bands", "scan:0", "scan:1"} <= set(ran)
    assert (ended.progress.shards_done, ended.progress.tokens_done) == (
        ended.progress.shards_total,
        ended.progress.tokens_total,
    )


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_peaks_of_the_calibration_are_made_again(
    board: Board, store: Store, runner: Runner, whole: dict[str, bytes], damage: str
) -> None:
    job = open_tiny_job(board, store)
    run_what_is_due(board, runner, job, until="bands")
    harm(store, f"{Layout.work(job)}/calibration/peaks-001.npz", damage)

    ran = run_what_is_due(board, runner, job)

    assert ran[:3] == ["bands", "calibrate:1", "bands"]
    assert read_result(store, job) == whole


def test_a_job_that_samples_nothing_is_not_calibrated(
    board: Board, store: Store, runner: Runner
) -> None:
    add_corpus(board, store)
    body = {"contexts": {"window": 32, "sampled": 0}, "senses": {"enabled": False}}
    job = open_job(board, model="tiny-llama", reuse=False, **body).id

    ran = run_what_is_due(board, runner, job)

    assert ran[:2] == ["plan", "scan:0"]


def test_a_job_without_sinks_is_calibrated_and_its_norms_are_made_again(
    board: Board, store: Store, runner: Runner
) -> None:
    add_corpus(board, store)
    contexts = {"window": 32, "sampled": 0}
    parts = {"contexts": contexts, "senses": {"enabled": False}, "tokens": {"exclude_sinks": 2.0}}
    job = open_job(board, model="tiny-llama", reuse=False, **parts).id
    first = run_what_is_due(board, runner, job, until="calibrate:0")
    harm(store, f"{Layout.work(job)}/calibration/norms-001.npz", next(iter(DAMAGES)))

    ran = run_what_is_due(board, runner, job)

    assert first[:3] == ["plan", "norms:0", "norms:1"]
    assert ran[:3] == ["calibrate:0", "norms:1", "calibrate:0"]
    manifest = json.loads(store.read(f"{Layout.result(job)}/{MANIFEST}"))
    assert manifest["sinks"]["factor"] == 2.0


def test_a_scans_time_begins_when_the_bands_are_fixed(
    board: Board, store: Store, runner: Runner
) -> None:
    job = open_tiny_job(board, store)

    def began() -> str | None:
        found: str | None = board._redis.hget(f"polyseme:job:{job}", "scan_began_at")
        return found

    run_what_is_due(board, runner, job, until="bands")
    assert began() is None
    run_what_is_due(board, runner, job, until="scan:1")
    first = began()
    harm(store, f"{Layout.work(job)}/bands.npz", "gone")
    ran = run_what_is_due(board, runner, job, until="scan:2")

    assert ran == ["scan:1", "bands", "scan:1"]
    assert began() == first is not None


@pytest.mark.parametrize("name", ["background.npz", "peaks/layer-001.npz", "scalars/layer-002.npz"])
def test_a_damaged_file_of_a_merge_is_made_again(
    board: Board, store: Store, runner: Runner, whole: dict[str, bytes], name: str
) -> None:
    job = open_tiny_job(board, store)
    scan_all(board, runner, job)
    run_what_is_due(board, runner, job, until="close")
    path = f"{Layout.work(job)}/{name}"
    store.write(path, flip(store.read(path)))

    ran = run_what_is_due(board, runner, job)

    assert ran[0] == "close"
    assert len(ran) == 3
    assert read_result(store, job) == whole


def test_a_disk_that_damages_every_file_fails_the_job_after_three_attempts(
    board: Board, store: Store, runner: Runner
) -> None:
    job = open_tiny_job(board, store)
    scan_all(board, runner, job)
    path = f"{Layout.work(job)}/partials/000001.npz"

    for _ in range(8):
        if store.exists(path):
            store.write(path, store.read(path)[:100])
        for unit in ("background", "project:0", "merge:0", "scan:1"):
            run_unit(runner, job, unit)

    failed = board.jobs.get(job)
    assert failed is not None
    assert failed.error is not None
    assert failed.error["code"] == "too_many_attempts"
    assert "partials/000001.npz is damaged" in failed.error["detail"]


def test_a_damaged_table_of_a_model_is_made_again(
    board: Board, store: Store, runner: Runner, whole: dict[str, bytes]
) -> None:
    folder = f"{Layout.LENS}/{store.names(Layout.LENS)[0]}"
    path = f"{folder}/{store.names(folder)[0]}"
    intact = store.read(path)
    store.write(path, flip(intact))
    job = open_tiny_job(board, store)

    finish_job(board, runner, job)

    assert read_result(store, job) == whole
    assert store.read(path) == intact


def test_a_worker_that_lost_its_unit_does_not_fail_the_job(
    board: Board, store: Store, runner: Runner, whole: dict[str, bytes]
) -> None:
    job = open_tiny_job(board, store)
    scan_all(board, runner, job)
    lease = take_unit(board, job, "merge:0", lease_s=30)
    assert lease is not None
    board.units.release(lease)
    run_what_is_due(board, runner, job)

    # What the slow one meets: the work folder is gone, and the result is there.
    runner._note_end(
        lease, DamagedFile("plan.json is not there", path=f"{Layout.work(job)}/plan.json")
    )
    runner._note_end(lease, AnalysisError("something that would fail the job"))

    ended = board.jobs.get(job)
    assert ended is not None
    assert ended.status == "succeeded"
    assert read_result(store, job) == whole


def test_a_job_of_a_newer_version_is_left_to_newer_workers(
    board: Board, store: Store, runner: Runner
) -> None:
    job = open_tiny_job(board, store)
    board._redis.hset(f"polyseme:job:{job}", "version", JOB_VERSION + 1)

    run_unit(runner, job, "plan")
    runner.scheduler.advance(job)

    found = board.jobs.get(job)
    assert found is not None
    assert not found.is_terminal
    assert board.units.count_attempts(job) == {"plan": 0}
    assert board.units.list_done(job) == set()
    assert found.waits_because is not None
    assert f"version {JOB_VERSION + 1}" in found.waits_because
    assert board.jobs.survey().jobs[0].awaits_other_worker


@pytest.mark.parametrize(
    "unit", ["calibrate:1", "bands", "scan:1", "background", "project:0", "merge:1", "close"]
)
def test_every_unit_stops_when_its_process_drains(
    board: Board, store: Store, runner: Runner, unit: str
) -> None:
    job = open_tiny_job(board, store)
    run_what_is_due(board, runner, job, until=unit)
    runner.draining.set()

    run_unit(runner, job, unit)

    assert unit not in board.units.list_done(job)
    assert board.units.count_attempts(job)[unit] == 0


def test_a_merge_is_left_to_workers_that_have_the_jobs_encoder(
    board: Board, store: Store, runner: Runner, tmp_path: Path
) -> None:
    save_model("bert", tmp_path / "bert")
    save_model("distilbert", tmp_path / "other")
    able = replace(runner, encoder=LazyEncoder(str(tmp_path / "bert")))
    unable = replace(runner, encoder=LazyEncoder(str(tmp_path / "other")))
    job = open_tiny_job(board, store)
    run_what_is_due(board, able, job, until="merge:0")

    run_unit(unable, job, "merge:0")

    assert "merge:0" not in board.units.list_done(job)
    assert board.units.count_held(job) == 0
    assert board.units.count_attempts(job)["merge:0"] == 0
    assert board.units.last_failure(job) is None
    waiting = board.jobs.get(job)
    assert waiting is not None
    assert "sentence encoder" in (waiting.waits_because or "")
    run_unit(able, job, "merge:0")
    assert "merge:0" in board.units.list_done(job)


def test_a_lost_device_gives_the_unit_back_and_ends_the_process(
    board: Board, store: Store, runner: Runner
) -> None:
    job = open_tiny_job(board, store)
    lease = take_unit(board, job, "plan", lease_s=30)
    assert lease is not None

    with pytest.raises(DeviceLost):
        runner._note_end(lease, torch.AcceleratorError("CUDA error: device-side assert triggered"))

    assert board.units.count_held(job) == 0
    assert board.units.count_attempts(job) == {"plan": 1}
    assert "device-side assert" in (board.units.last_failure(job) or "")
