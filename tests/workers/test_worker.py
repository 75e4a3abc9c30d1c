"""What a worker process does beside its units: cards of its models, and rounds over all jobs."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Store
from polyseme.contract.records.catalogue import DictionaryEntry, Entry
from polyseme.contract.records.dictionary_card import DictionaryCard
from polyseme.contract.settings import Settings
from polyseme.workers import worker
from polyseme.workers.retention import Reaper
from polyseme.workers.scheduler import Scheduler
from polyseme.workers.worker import (
    TICK_S,
    look_after_jobs,
    publish_cards,
    publish_dictionaries,
    withdraw_cards,
    withdraw_dictionaries,
)
from tests.factories import make_card, open_job
from tests.tiny_models import save_model
from tests.workers.analysis.dictionaries.builders import saelens_tensors, write_saelens


@pytest.fixture
def scheduler(board: Board, store: Store) -> Scheduler:
    return Scheduler(board, store, lambda queue: None, Settings())


def test_one_worker_at_a_time_looks_after_all_jobs(board: Board, scheduler: Scheduler) -> None:
    job = open_job(board).id

    rounds = [look_after_jobs(board, scheduler, f"worker-{i}") for i in range(64)]

    assert rounds == [True, *[False] * 63]
    assert board.units.first_idle(job, ["plan"]) is None


def test_the_next_round_is_anybodys_after_a_pause(board: Board, scheduler: Scheduler) -> None:
    look_after_jobs(board, scheduler, "a")
    time.sleep(0.5)
    at_once = look_after_jobs(board, scheduler, "b")
    time.sleep(TICK_S)

    assert not at_once
    assert look_after_jobs(board, scheduler, "b")


def test_the_round_of_a_worker_that_died_in_it_is_taken_over(
    board: Board, scheduler: Scheduler
) -> None:
    assert board.workers.acquire_leadership("dead", most_s=0.2)
    assert not look_after_jobs(board, scheduler, "alive")
    time.sleep(0.25)

    assert look_after_jobs(board, scheduler, "alive")
    board.workers.release_leadership("dead", pause_s=60)  # wakes up late, and holds nobody up
    time.sleep(TICK_S)
    assert look_after_jobs(board, scheduler, "alive")


def test_a_round_that_fails_lets_the_next_begin(board: Board, scheduler: Scheduler) -> None:
    class Failing(Scheduler):
        def advance_all(self) -> None:
            raise OSError("the store is away")

    broken = Failing(board, Store("memory://none"), lambda queue: None, Settings())
    with pytest.raises(OSError, match="away"):
        look_after_jobs(board, broken, "a")
    time.sleep(TICK_S)

    assert look_after_jobs(board, scheduler, "b")


def test_a_worker_is_on_the_board_while_its_store_hangs(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, draining = threading.Event(), threading.Event()

    class Hanging(Store):
        def names(self, folder: str) -> list[str]:
            hangs.set()
            draining.wait(20)
            return []

    monkeypatch.setattr(worker, "TICK_S", 0.1)
    store = Hanging(str(tmp_path / "store"))
    scheduler = Scheduler(board, store, lambda queue: None, Settings())
    worker.Ticker(board, draining, name="w1").start()
    worker.Caretaker(board, scheduler, Reaper(board, store), draining, name="w1").start()

    assert hangs.wait(10)
    time.sleep(1)

    assert board.workers.list_names() == ["w1"]
    draining.set()


def test_a_models_card_says_its_queue_and_follows_the_catalogue(
    board: Board, tmp_path: Path
) -> None:
    entry = save_model("llama", tmp_path / "model")
    publish_cards(board, {entry.id: entry}, tmp_path / "cache")
    before = board.registry.get_card(entry.id)

    publish_cards(board, {entry.id: replace(entry, queue="big")}, tmp_path / "cache")

    after = board.registry.get_card(entry.id)
    assert before is not None
    assert after == replace(before, queue="big")


def test_a_card_of_a_worker_that_knew_fewer_sites_is_made_anew_with_its_speeds(
    board: Board, tmp_path: Path
) -> None:
    entry = save_model("llama", tmp_path)
    publish_cards(board, {entry.id: entry}, tmp_path / "cache")
    card = board.registry.get_card(entry.id)
    assert card is not None
    older = replace(card, sites=card.sites[:1], tokens_per_second=123.0, neurons_per_second=4.5)
    board.registry.put_card(older)

    publish_cards(board, {entry.id: entry}, tmp_path / "cache")

    assert board.registry.get_card(entry.id) == replace(older, sites=card.sites)


def test_workers_say_which_queues_they_serve(board: Board) -> None:
    board.workers.announce("a", ttl_s=30, queues=("default", "big"))
    board.workers.announce("b", ttl_s=30)
    board.workers.announce("gone", ttl_s=-1, queues=("small",))

    assert board.workers.count_by_queue() == {"default": 2, "big": 1}


def test_a_model_that_left_the_catalogue_leaves_the_board(board: Board) -> None:
    for model, queue in (("kept", "default"), ("gone", "default"), ("theirs", "big")):
        board.registry.put_card(make_card(id=model, queue=queue))

    withdraw_cards(board, {"kept": Entry("kept", "path", "/m")}, ("default",))

    assert [card.id for card in board.registry.list_cards()] == ["kept", "theirs"]


def dictionary_of(folder: Path) -> DictionaryEntry:
    return DictionaryEntry("mine", "m", "path", str(write_saelens(folder, saelens_tensors())))


def test_dictionaries_of_served_models_have_cards_with_their_models_queue(
    board: Board, tmp_path: Path
) -> None:
    mine = dictionary_of(tmp_path / "sae")
    theirs = replace(mine, id="theirs", model="n")

    publish_dictionaries(
        board, {"mine": mine, "theirs": theirs}, {"m": Entry("m", "path", "/m", queue="big")}
    )

    (card,) = board.registry.list_dictionaries()
    assert (card.id, card.queue, card.format, card.error) == ("mine", "big", "saelens", None)


def test_a_dictionary_is_read_again_only_when_its_entry_has_changed(
    board: Board, tmp_path: Path
) -> None:
    entry, models = dictionary_of(tmp_path / "sae"), {"m": Entry("m", "path", "/m")}
    publish_dictionaries(board, {"mine": entry}, models)
    before = board.registry.get_dictionary("mine")
    (tmp_path / "sae/cfg.json").unlink()

    publish_dictionaries(board, {"mine": entry}, {"m": replace(models["m"], queue="big")})
    unchanged = board.registry.get_dictionary("mine")
    publish_dictionaries(board, {"mine": replace(entry, format="saelens")}, models)
    changed = board.registry.get_dictionary("mine")

    assert before is not None
    assert unchanged == replace(before, queue="big")
    assert changed is not None
    assert "sae has sae_weights.safetensors" in (changed.error or "")


def test_a_dictionary_that_could_not_be_read_is_tried_again(board: Board, tmp_path: Path) -> None:
    entry = DictionaryEntry("mine", "m", "path", str(tmp_path / "sae"))
    publish_dictionaries(board, {"mine": entry}, {"m": Entry("m", "path", "/m")})
    failed = board.registry.get_dictionary("mine")
    dictionary_of(tmp_path / "sae")

    publish_dictionaries(board, {"mine": entry}, {"m": Entry("m", "path", "/m")})

    read = board.registry.get_dictionary("mine")
    assert failed is not None
    assert "there is no folder" in (failed.error or "")
    assert read is not None
    assert (read.error, read.site) == (None, "resid_post")


def test_a_dictionary_that_left_the_catalogue_leaves_the_board(board: Board) -> None:
    for name, queue in (("kept", "default"), ("gone", "default"), ("theirs", "big")):
        board.registry.put_dictionary(DictionaryCard(name, "m", queue=queue))

    withdraw_dictionaries(board, {"kept": DictionaryEntry("kept", "m", "path", "/d")}, ("default",))

    assert [card.id for card in board.registry.list_dictionaries()] == ["kept", "theirs"]
