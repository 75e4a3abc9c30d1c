"""From a file of the work folder to the unit that wrote it."""

from __future__ import annotations

import pytest

from contract.store import Store
from workers.mending import find_lost_scans, find_writer


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("work/j/plan.json", "plan"),
        ("work/j/bands.npz", "bands"),
        ("work/j/calibration/windows.npz", "plan"),
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
        ("work/j/peaks/layer-007.npz", "merge:1"),
        ("work/j/scalars/layer-005.npz", "merge:0"),
        ("work/other/plan.json", None),
        ("results/j/background.npz", None),
        ("work/j/strange", None),
        (None, None),
    ],
)
def test_each_file_has_its_writer(path: str | None, unit: str | None) -> None:
    assert find_writer(path, "work/j", [5, 7], in_parts=True) == unit


@pytest.mark.parametrize("name", ["bands.npz", "calibration/peaks-000.npz"])
def test_a_plan_that_calibrates_wrote_the_files_of_that(name: str) -> None:
    assert find_writer(f"work/j/{name}", "work/j", [5, 7], in_parts=False) == "plan"


def test_scans_without_all_their_files_are_lost(store: Store) -> None:
    for name in ("partials/000000.npz", "vectors/000000.npz", "partials/000001.npz", "vectors/000002.npz"):
        store.write(f"w/{name}", b"")

    assert find_lost_scans(store, "w", 4, vectors=True) == ["scan:1", "scan:2", "scan:3"]
    assert find_lost_scans(store, "w", 4, vectors=False) == ["scan:2", "scan:3"]
