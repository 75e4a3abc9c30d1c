"""What the command decides before and after its contenders run."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.peers.benchmark import fit, in_turn
from tests.benchmarks.peers.test_protocol import make_task

GIB = 2**30


def test_each_round_begins_with_another() -> None:
    assert [in_turn("abc", number) for number in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]


@pytest.mark.parametrize(("module", "free", "layers"), [("delphi", GIB, 2), ("delphi", 1000, 1), ("ours", 1000, 2)])
def test_only_delphi_runs_fewer_layers_for_want_of_memory(tmp_path: Path, module: str, free: int, layers: int) -> None:
    assert len(fit(module, make_task(tmp_path), free, few=(0,)).layers) == layers
