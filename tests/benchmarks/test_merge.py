"""The made-up job is one that the analysis can end."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.made_up import Sizes, make_job
from benchmarks.merge import merge_all
from polyseme.contract.files.results import NEURONS


def test_a_made_up_job_gives_senses_in_every_layer(tmp_path: Path) -> None:
    sizes = Sizes(layers=2, neurons=48, contexts=40, tokens=6000)
    make_job(tmp_path, sizes)

    measured = merge_all(tmp_path, sizes)

    neurons = pq.read_table(tmp_path / "result" / NEURONS).to_pylist()
    assert len(measured.layers_s) == 2
    assert len(neurons) == 96
    assert {n["layer"] for n in neurons} == {0, 1}
    assert {"monosemantic", "polysemantic"} <= {n["status"] for n in neurons}
