"""What the jobs of a batch have found: of each the part of its summary that tells of meaning."""

from __future__ import annotations

import json
from typing import Any

from polyseme.contract.board.batches import Batch, Entry
from polyseme.contract.errors import PolysemeError
from polyseme.contract.files.results import SUMMARY
from polyseme.contract.records.job import Job
from polyseme.service.context import Services
from polyseme.service.jobs.submit_batches import problem_of

_TOLD = ("neurons", "statuses", "notes", "warnings", "examples")  # of a summary


def summarise_batch(
    services: Services, batch: Batch, *, after: int, count: int
) -> list[dict[str, Any]]:
    """Rows of at most `count` jobs, by index, of those behind the index `after`."""
    entries = services.board.batches.list_entries(batch.id)
    kept = [(e.job, e) for e in entries if e.job is not None and e.index > after][:count]
    jobs = {job.id: job for job in services.board.jobs.get_many(name for name, _ in kept)}
    return [_row(services, entry, jobs.get(name)) for name, entry in kept]


def _row(services: Services, entry: Entry, job: Job | None) -> dict[str, Any]:
    """job: None when it was deleted."""
    found, problem = None, None
    if job is not None and job.status == "succeeded" and not job.has_expired:
        try:
            summary = json.loads(services.results.read(job.id, SUMMARY))
            found = {name: summary[name] for name in _TOLD}
        except PolysemeError as e:
            problem = problem_of(e)
    return {
        "index": entry.index,
        "job": entry.job,
        "status": entry.status,
        "model": job.analysis.model if job else None,
        "corpus": job.analysis.corpus if job else None,
        "metadata": dict(job.analysis.metadata) if job else {},
        "summary": found,
        "problem": problem,
        "link": f"{services.base}/v1/jobs/{entry.job}",
    }
