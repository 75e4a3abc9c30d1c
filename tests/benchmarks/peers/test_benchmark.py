"""What the command decides before and after its contenders run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.peers.benchmark import fit, in_turn
from tests.benchmarks.peers.test_protocol import make_task

GIB = 2**30


def test_each_round_begins_with_another() -> None:
    assert [in_turn("abc", number) for number in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]


@pytest.mark.parametrize(("module", "free", "layers"), [("delphi", GIB, 6), ("delphi", 1000, 4), ("ours", 1000, 6)])
def test_only_delphi_runs_fewer_layers_for_want_of_memory(tmp_path: Path, module: str, free: int, layers: int) -> None:
    task = replace(make_task(tmp_path), layers=tuple(range(6)))

    assert len(fit(module, task, free).layers) == layers


def test_dashboards_are_made_of_one_layer(tmp_path: Path) -> None:
    task = fit("sae_dashboard", replace(make_task(tmp_path), neurons=1536), GIB)

    assert (task.layers, task.neurons) == ((0,), 64)
