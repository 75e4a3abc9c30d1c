"""What the command decides before and after its contenders run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers.benchmark import fit, in_turn, report
from tests.benchmarks.peers.test_protocol import make_task
from tests.benchmarks.peers.test_report import make_rounds, rows

GIB = 2**30


def test_each_round_begins_with_another() -> None:
    assert [in_turn("abc", number) for number in range(4)] == [
        list("abc"),
        list("bca"),
        list("cab"),
        list("abc"),
    ]


@pytest.mark.parametrize(
    ("module", "free", "layers"), [("delphi", GIB, 6), ("delphi", 1000, 4), ("ours", 1000, 6)]
)
def test_only_delphi_runs_fewer_layers_for_want_of_memory(
    tmp_path: Path, module: str, free: int, layers: int
) -> None:
    task = replace(make_task(tmp_path), layers=tuple(range(6)))

    assert len(fit(module, task, free).layers) == layers


def test_dashboards_are_made_of_one_layer(tmp_path: Path) -> None:
    task = fit("sae_dashboard", replace(make_task(tmp_path), neurons=1536), GIB)

    assert (task.layers, task.neurons) == ((0,), 64)


def test_the_report_sets_each_tool_beside_the_scan_of_as_many_neurons(tmp_path: Path) -> None:
    scanned = np.arange(72.0).reshape(6, 12)
    maxima = {
        "scan": scanned,
        "shard": scanned,
        "few": scanned[:4],
        "transformer-lens": scanned + 0.5,
    }
    maxima["delphi"] = scanned[:4]
    rounds = {way: make_rounds(2.0, 2.0) for way in ("body", *maxima)}

    text = report(make_task(tmp_path), rounds, maxima, resettable=True)

    assert "transformer-lens: transformer-lens 4.3.0, torch 2.13.0" in text
    assert [row[:2] for row in rows(text.split("\n\n")[3])] == [
        ["TransformerLens: `run_with_cache`, topk", "Polyseme: scan"],
        ["delphi: `LatentCache`", "Polyseme: scan of layers 0-3, no senses"],
    ]
    assert "topk 5.0e-01, delphi: `LatentCache` 0.0e+00." in text
