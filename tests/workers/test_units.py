"""Units run on a real board, a real store and a tiny model."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from contract.board import Board
from contract.records import ACTIVATIONS, ActivationsRequest
from contract.settings import Settings
from contract.store import Layout, Store
from tests.factories import add_corpus, open_job
from tests.tiny_models import LAYERS, save_model
from workers.analysis.encoder import LazyEncoder
from workers.analysis.model import ModelShelf, describe_model
from workers.scheduler import Scheduler
from workers.units import Runner


@pytest.fixture
def runner(board: Board, store: Store, tmp_path: Path) -> Runner:
    """A worker that is sent nothing: the tests say what runs."""
    entry = save_model("llama", tmp_path / "model")
    board.put_card(describe_model(entry, tmp_path / "cache"))
    settings = Settings(shard_tokens=400)
    scheduler = Scheduler(board, store, lambda queue: None, settings)
    shelf = ModelShelf(device="cpu", dtype="float32", cache=tmp_path / "cache", budget_bytes=1 << 30)
    return Runner(board, store, shelf, LazyEncoder(), {entry.id: entry}, scheduler, settings, threading.Event())


def open_tiny_job(board: Board, store: Store) -> str:
    add_corpus(board, store)
    return open_job(board, model="tiny-llama", contexts={"window": 32, "top_k": 4}).id


def finish_job(board: Board, runner: Runner, job: str) -> int:
    """Runs every unit. Returns the number of shards."""
    runner.run(job, "plan")
    planned = board.get_job(job)
    assert planned is not None
    shards = planned.progress.shards_total
    assert shards is not None
    for unit in [
        *(f"scan:{i}" for i in range(shards)),
        "background",
        *(f"project:{i}" for i in range(shards)),
        *(f"merge:{i}" for i in range(LAYERS)),
        "close",
    ]:
        runner.run(job, unit)
    return shards


def test_a_job_is_done_by_its_units(board: Board, store: Store, runner: Runner) -> None:
    job = open_tiny_job(board, store)

    shards = finish_job(board, runner, job)

    found = board.get_job(job)
    assert found is not None
    assert (found.status, found.error) == ("succeeded", None)
    assert shards > 1
    assert found.progress.tokens_done == found.progress.tokens_total
    assert "manifest.json" in store.names(Layout.result(job))


def open_check(board: Board, job: str) -> str:
    request = ActivationsRequest(job, "tiny-llama", "the river and the bank", ((0, 1), (2, 3)), 50)
    return board.open_job(request.to_dict(), kind="activations").job


def test_a_live_check_of_a_finished_job_leaves_its_answer(board: Board, store: Store, runner: Runner) -> None:
    job = open_tiny_job(board, store)
    finish_job(board, runner, job)
    check = open_check(board, job)

    runner.run(check, "activate")

    found = board.get_job(check)
    assert found is not None
    assert (found.status, found.error) == ("succeeded", None)
    answer = json.loads(store.read(f"{Layout.result(check)}/{ACTIVATIONS}"))
    assert [(n["layer"], n["neuron"]) for n in answer["neurons"]] == [(0, 1), (2, 3)]
    assert found.progress.tokens_done == len(answer["tokens"])
    assert store.names(Layout.work(check)) == []


def test_a_live_check_of_a_job_that_was_deleted_fails_with_a_reason(board: Board, store: Store, runner: Runner) -> None:
    check = open_check(board, "job_" + "0" * 28)

    runner.run(check, "activate")

    found = board.get_job(check)
    assert found is not None
    assert found.error is not None
    assert "no longer there" in found.error["detail"]


def test_a_cancelled_live_check_is_not_run(board: Board, store: Store, runner: Runner) -> None:
    check = open_check(board, "job_" + "0" * 28)
    board.cancel(check)

    runner.run(check, "activate")
    runner.scheduler.advance(check)

    found = board.get_job(check)
    assert found is not None
    assert (found.status, found.error) == ("cancelled", None)


def test_a_mistake_that_would_repeat_ends_the_job_at_once(board: Board, store: Store, runner: Runner) -> None:
    job = open_tiny_job(board, store)
    board.delete_corpus("notes")

    runner.run(job, "plan")

    found = board.get_job(job)
    assert found is not None
    assert found.status == "failed"
    assert found.error is not None
    assert "was deleted" in found.error["detail"]


def test_a_draining_worker_gives_its_unit_back_uncounted(board: Board, store: Store, runner: Runner) -> None:
    job = open_tiny_job(board, store)
    runner.draining.set()

    runner.run(job, "plan")

    assert board.units_held(job) == 0
    assert board.done_units(job) == set()
    assert board.attempts(job) == {"plan": 0}


def test_a_ticket_runs_the_unit_whose_turn_it_is(board: Board, store: Store, runner: Runner) -> None:
    job = open_tiny_job(board, store)
    board.cancel(open_tiny_job(board, store))
    runner.scheduler.advance_all()

    assert runner.run_next("default")
    assert board.done_units(job) == {"plan"}
    assert board.waiting_units()["default", "normal"] > 1


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
    runner.run(job, "plan")
    board.cancel(job)
    refused = open_job(board, model="tiny-llama", corpus={"id": "gone"}).id
    stopped = open_tiny_job(board, store)

    runner.run(job, "scan:0")
    runner.run(refused, "plan")
    runner.draining.set()
    runner.run(stopped, "plan")

    def count(outcome: str) -> float:
        labels = {"kind": "plan", "outcome": outcome}
        return runner.metrics.registry.get_sample_value("polyseme_units_total", labels) or 0.0

    assert [count(outcome) for outcome in ("done", "refused", "stopped")] == [1, 1, 1]
    assert runner.metrics.registry.get_sample_value("polyseme_tokens_total", {"kind": "scan"}) is None


def test_a_scans_tokens_are_counted(board: Board, store: Store, runner: Runner) -> None:
    job = open_tiny_job(board, store)

    finish_job(board, runner, job)

    found = board.get_job(job)
    assert found is not None
    counted = runner.metrics.registry.get_sample_value("polyseme_tokens_total", {"kind": "scan"})
    assert counted == found.progress.tokens_total
