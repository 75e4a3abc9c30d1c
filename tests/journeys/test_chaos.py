"""The short form of the chaos test; `make chaos` runs the long one."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.journeys.chaos import SHORT, run_chaos
from tests.nursery import Nursery


def test_no_job_is_lost_doubled_or_changed_by_kills(nursery: Nursery, tmp_path: Path) -> None:
    report = run_chaos(nursery, tmp_path / "data", SHORT, seed=1)

    sys.stdout.write(f"\n{report.to_text()}\n")
    assert sum(report.blows.values()) >= SHORT.blows
    assert report.jobs >= SHORT.jobs
