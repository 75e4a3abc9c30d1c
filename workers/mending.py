"""Which unit of a job wrote a file of its work folder: the one to run again when the file is no longer any good."""

from __future__ import annotations

import re
from collections.abc import Sequence

from contract.results import BACKGROUND
from contract.store import Store
from workers.analysis.plan import PLAN
from workers.scheduler import PROJECTED_TOGETHER

_DECISION = re.compile(r"reuse-[0-9a-f]+/")  # see `reuse.work_folder`
_PLANNED = re.compile(rf"{re.escape(PLAN)}|windows/\d+\.arrow|calibration/windows\.npz|reused/.+")
_CALIBRATED = re.compile(r"bands\.npz|calibration/peaks-(\d+)\.npz")
_SCANNED = re.compile(r"(?:partials|vectors)/(\d+)\.npz")
_PROJECTED = re.compile(r"projected/(\d+)\.npz")
_MERGED = re.compile(r"(?:peaks|scalars)/layer-(\d+)\.npz")

COUNTERS = {"scan": "shards_done", "merge": "layers_done"}  # fields of the job that count finished units


def find_writer(path: str | None, work: str, layers: Sequence[int], *, in_parts: bool) -> str | None:
    """The unit that wrote a file; None for one outside of the job's work folder, which nothing here can make again.

    work: the whole folder, whatever layers were taken over. in_parts: whether it has units that calibrate.
    """
    if path is None or not path.startswith(f"{work}/"):
        return None
    name = _DECISION.sub("", path.removeprefix(f"{work}/"), count=1)
    if _PLANNED.fullmatch(name):
        return "plan"
    if found := _CALIBRATED.fullmatch(name):
        own_unit = f"calibrate:{int(found[1])}" if found[1] else "bands"
        return own_unit if in_parts else "plan"
    if found := _SCANNED.fullmatch(name):
        return f"scan:{int(found[1])}"
    if found := _PROJECTED.fullmatch(name):
        return f"project:{int(found[1]) // PROJECTED_TOGETHER}"
    if found := _MERGED.fullmatch(name):
        return f"merge:{layers.index(int(found[1]))}"
    return "background" if name == BACKGROUND else None


def find_lost_scans(store: Store, work: str, shards: int, *, vectors: bool) -> list[str]:
    """The scans whose files are not there. vectors: whether a scan writes vectors."""
    kept = [set(store.names(f"{work}/{folder}")) for folder in ("partials", *(["vectors"] if vectors else []))]
    return [f"scan:{i}" for i in range(shards) if not all(f"{i:06d}.npz" in names for names in kept)]
