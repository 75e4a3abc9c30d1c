"""Which stages a job has, and how many units they have by what is known of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from polyseme.contract.records.job import Job
from polyseme.workers.analysis.pipeline import (
    ANALYSIS,
    CHECK,
    REGROUPING,
    Due,
    Size,
    Stage,
    due_units,
)


def stages_of(job: Job) -> tuple[Stage[Any], ...]:
    if job.kind == "activations":
        return CHECK
    return REGROUPING if job.analysis.source_job else ANALYSIS


def size_of(job: Job) -> Size | None:
    """None before the plan is made."""
    shards, layers = job.progress.shards_total, job.progress.layers_total
    if shards is None or layers is None:
        return None
    size = Size.before_plan(job.analysis) if job.kind == "analysis" else Size(senses=False)
    return replace(size, shards=shards, layers=layers, calibration_parts=job.calibration_parts)


def due_of(job: Job, done: set[str]) -> Due | None:
    """What of a job may run now, by what is done; None when all is."""
    return due_units(stages_of(job), size_of(job), done)
