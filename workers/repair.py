"""Which unit of a job wrote a file of its work folder or its result: the one to run again when the
file is no longer any good.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from polyseme.contract.files.store import Layout, Store
from polyseme.contract.records.job import Job
from polyseme.contract.records.model_card import ModelCard
from polyseme.contract.records.selection import resolve_layers
from polyseme.workers.analysis.pipeline import Files, Size, Stage
from polyseme.workers.pipelines import size_of, stages_of
from polyseme.workers.reuse import work_folder

_DECISION = re.compile(r"reuse-[0-9a-f]+/")  # see `reuse.work_folder`


def find_writer(path: str, job: Job, card: ModelCard) -> str | None:
    """The unit that wrote a file; None for one of neither the job's work folder nor its result,
    which nothing here can make again.
    """
    work, result = f"{Layout.work(job.id)}/", f"{Layout.result(job.id)}/"
    layers = resolve_layers(job.analysis.neurons.layers, card.layers, card.id)
    stages, size = stages_of(job), size_of(job) or Size()
    if path.startswith(result):
        return _find_result_writer(stages, path.removeprefix(result), size, layers)
    if not path.startswith(work):
        return None
    name = _DECISION.sub("", path.removeprefix(work), count=1)
    return _find_work_writer(stages, name, size, layers)


def find_lost_scans(store: Store, job: Job) -> list[str]:
    """The scans of a job whose files are not there."""
    size, work = size_of(job) or Size(), work_folder(job.id, job.reused)
    folders = ("partials", "vectors") if size.senses else ("partials",)
    kept = [set(store.names(f"{work}/{folder}")) for folder in folders]
    return [
        f"scan:{shard}"
        for shard in range(size.shards)
        if not all(f"{shard:06d}.npz" in names for names in kept)
    ]


def _find_work_writer(
    stages: Sequence[Stage[Any]], name: str, size: Size, layers: Sequence[int]
) -> str | None:
    """The unit that wrote a file of the work folder; None when no stage does.

    What a stage without units would have written, the plan did.
    """
    for stage in stages:
        for files in stage.files:
            if match := re.fullmatch(files.pattern, name):
                return _unit_of(stage, files, match, size, layers) or stages[0].name
    return None


def _find_result_writer(
    stages: Sequence[Stage[Any]], name: str, size: Size, layers: Sequence[int]
) -> str:
    """The unit that wrote a file of the result."""
    for stage in stages:
        for files in stage.results:
            if match := re.fullmatch(files.pattern, name):
                return _unit_of(stage, files, match, size, layers) or stages[-1].name
    return stages[-1].name


def _unit_of(
    stage: Stage[Any], files: Files, match: re.Match[str], size: Size, layers: Sequence[int]
) -> str | None:
    """None of a stage without units."""
    if not (units := stage.units(size)):
        return None
    return units[files.unit(int(match[1]), layers) if match.groups() else 0]
