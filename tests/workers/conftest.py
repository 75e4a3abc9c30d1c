"""A worker under a test's hands."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from contract.board import Board
from contract.settings import Settings
from contract.store import Store
from tests.tiny_models import save_model
from workers.analysis.encoder import LazyEncoder
from workers.analysis.model import ModelShelf, describe_model
from workers.scheduler import Scheduler
from workers.units import Runner


@pytest.fixture
def runner(board: Board, store: Store, tmp_path: Path) -> Runner:
    """A worker that is sent nothing: the tests say what runs."""
    entry = save_model("llama", tmp_path / "model")
    board.put_card(describe_model(entry, tmp_path / "cache"))
    settings = Settings(shard_tokens=500, block_tokens=128)
    scheduler = Scheduler(board, store, lambda queue: None, settings)
    shelf = ModelShelf(device="cpu", dtype="float32", cache=tmp_path / "cache", budget_bytes=1 << 30)
    return Runner(board, store, shelf, LazyEncoder(), {entry.id: entry}, scheduler, settings, threading.Event())
