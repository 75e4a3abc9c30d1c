"""A small job behind a large one of another tenant, with workers whose units only take time."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.stub_workers import Pace, measure_wait

# As in real jobs, the other steps are short beside a shard.
PACE = Pace(scan_s=1.5, other_s=0.01)


@pytest.mark.parametrize(("priority", "phase", "most"), [("normal", 0.0, 3.0), ("high", 0.5, 2.0)])
def test_a_job_of_one_shard_behind_one_of_200_ends_soon(
    redis_url: str, tmp_path: Path, priority: str, phase: float, most: float
) -> None:
    times = measure_wait(
        redis_url, str(tmp_path), workers=1, pace=PACE, priority=priority, phase=phase
    )

    assert 1.0 < times <= most
