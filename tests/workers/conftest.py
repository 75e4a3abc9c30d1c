"""A worker under a test's hands."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Store
from polyseme.contract.settings import Settings
from polyseme.workers.analysis.models.encoder import LazyEncoder
from polyseme.workers.analysis.models.load import describe_model
from polyseme.workers.analysis.models.shelf import ModelShelf
from polyseme.workers.scheduler import Scheduler
from polyseme.workers.units import Runner
from tests.tiny_models import save_model


@pytest.fixture
def runner(board: Board, store: Store, tmp_path: Path) -> Runner:
    """A worker that is sent nothing: the tests say what runs."""
    entry = save_model("llama", tmp_path / "model")
    board.registry.put_card(describe_model(entry, tmp_path / "cache"))
    settings = Settings(shard_tokens=500, block_tokens=128)
    scheduler = Scheduler(board, store, lambda queue: None, settings)
    shelf = ModelShelf(
        device="cpu", dtype="float32", cache=tmp_path / "cache", budget_bytes=1 << 30
    )
    return Runner(
        board,
        store,
        shelf,
        LazyEncoder(),
        {entry.id: entry},
        scheduler,
        settings,
        threading.Event(),
    )
