"""This project's own contender, on a tiny model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import ours, plain_model
from tests.benchmarks.peers.test_protocol import make_task
from tests.factories import make_texts
from tests.tiny_models import save_model


def test_ways_find_the_same_maxima_in_the_same_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = save_model("llama", tmp_path / "model", num_hidden_layers=5)
    lines = [json.dumps({"text": text}) for text in make_texts(12)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    task = replace(make_task(tmp_path), model=model.location)

    ways = ours.load(task)
    found = {name: way(tmp_path / name) for name, way in ways.items()}

    assert found.pop("body") is None
    assert np.load(task.ids).shape == (4, 16)
    scan, *others = (maxima() for maxima in found.values() if maxima)
    assert scan.shape[0] == 5
    assert len(others) == 3
    assert all(np.array_equal(other, scan[: len(other)]) for other in others)
    assert (tmp_path / "shard/partial.npz").exists()
    assert plain_model.load(task)["model"](tmp_path) is None
