"""From a file of the work folder to the unit that wrote it."""

from __future__ import annotations

from typing import Any

import pytest

from polyseme.contract.files.store import Store
from polyseme.contract.records.job import Job, Progress
from polyseme.workers.repair import find_lost_scans, find_writer
from tests.factories import make_card, make_request


def make_job(*, shards: int = 20, calibration_parts: int = 0, **changes: Any) -> Job:
    """A planned job, of layers 5 and 7."""
    request = make_request(neurons={"layers": "5,7"}, **changes)
    return Job(
        id="j",
        status="running",
        phase="scanning",
        revision=1,
        request=request,
        created_at=0.0,
        started_at=0.0,
        finished_at=None,
        progress=Progress(0, shards, 0, 2, 0, None, None),
        error=None,
        calibration_parts=calibration_parts,
    )


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("work/j/plan.json", "plan"),
        ("work/j/bands.npz", "bands"),
        ("work/j/calibration/windows.npz", "plan"),
        ("work/j/calibration/norms-011.npz", "norms:11"),
        ("work/j/calibration/peaks-011.npz", "calibrate:11"),
        ("work/j/reuse-0123456789abcdef/calibration/peaks-000.npz", "calibrate:0"),
        ("work/j/windows/000003.arrow", "plan"),
        ("work/j/reuse-0123456789abcdef/plan.json", "plan"),
        ("work/j/reuse-0123456789abcdef/partials/000012.npz", "scan:12"),
        ("work/j/reuse-0123456789abcdef/reused/job_a/reports/layer-005.parquet", "plan"),
        ("work/j/reused/job_a/vectors.parquet", "plan"),
        ("work/j/partials/000012.npz", "scan:12"),
        ("work/j/vectors/000000.npz", "scan:0"),
        ("work/j/projected/000007.npz", "project:0"),
        ("work/j/projected/000008.npz", "project:1"),
        ("work/j/background.npz", "background"),
        ("work/j/languages.npz", "plan"),
        ("work/j/peaks/layer-007.npz", "merge:1"),
        ("work/j/scalars/layer-005.npz", "merge:0"),
        ("work/other/plan.json", None),
        ("work/j/seals/layer-007.npz", "merge:1"),
        ("results/j/reports/layer-007.parquet", "merge:1"),
        ("results/j/fires/layer-005.npz", "merge:0"),
        ("results/j/ghosts/layer-005.parquet", "merge:0"),
        ("results/j/background.npz", "close"),
        ("results/j/languages.npz", "close"),
        ("results/j/neurons.parquet", "close"),
        ("results/other/neurons.parquet", None),
        ("work/j/strange", None),
    ],
)
def test_each_file_has_its_writer(path: str, unit: str | None) -> None:
    job = make_job(calibration_parts=12, tokens={"exclude_sinks": 8})
    assert find_writer(path, job, make_card(layers=8)) == unit


@pytest.mark.parametrize(
    "name", ["bands.npz", "calibration/peaks-000.npz", "calibration/norms-000.npz"]
)
def test_a_plan_that_calibrates_wrote_the_files_of_that(name: str) -> None:
    assert find_writer(f"work/j/{name}", make_job(), make_card(layers=8)) == "plan"


def test_scans_without_all_their_files_are_lost(store: Store) -> None:
    for name in (
        "partials/000000.npz",
        "vectors/000000.npz",
        "partials/000001.npz",
        "vectors/000002.npz",
    ):
        store.write(f"work/j/{name}", b"")

    lost = find_lost_scans(store, make_job(shards=4))
    lost_without_senses = find_lost_scans(store, make_job(shards=4, senses={"enabled": False}))

    assert lost == ["scan:1", "scan:2", "scan:3"]
    assert lost_without_senses == ["scan:2", "scan:3"]
