"""A job as clients see it: its JSON and its headers. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from polyseme.contract.records.job import TERMINAL, Delivery, Job
from polyseme.contract.records.selection import format_ranges
from polyseme.service.context import Services
from polyseme.service.jobs.notes import Note
from polyseme.service.json_text import timestamp


def show_jobs(services: Services, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Jobs as clients see them:

    `job_to_dict`, with the warning that nobody works on a job's queue.
    """
    servers = (
        {} if all(job.is_terminal for job in jobs) else services.board.workers.count_by_queue()
    )
    return [show_seen(job, job.is_terminal or job.queue in servers, services.base) for job in jobs]


def show_seen(job: Job, is_served: bool, base: str) -> dict[str, Any]:
    notes = [] if is_served else [_unserved(job)]
    if job.store_away_since is not None and not job.is_terminal:
        notes.append(_awaits_store(job.store_away_since))
    if job.waits_because is not None and not job.is_terminal:
        notes.append(f"the job waits for another worker: {job.waits_because}")
    return job_to_dict(job, "; ".join(notes) or None, base)


def _awaits_store(since: float) -> str:
    return f"the store is away since {timestamp(since)}: the job waits for it"


def show_job(services: Services, job: Job) -> dict[str, Any]:
    return show_jobs(services, [job])[0]


def show_submitted(services: Services, job: Job, notes: Iterable[Note]) -> dict[str, Any]:
    """For whoever has just sent it. notes: on the request."""
    return show_job(services, job) | {"notes": [note.to_dict() for note in notes]}


def _unserved(job: Job) -> str:
    return f"no worker serves the queue {job.queue!r} now: the job waits until one does"


def job_to_dict(job: Job, warning: str | None = None, base: str = "") -> dict[str, Any]:
    """base: the path that the service lies below."""
    here = f"{base}/v1/jobs/{job.id}"
    return {
        "id": job.id,
        "object": "job",
        "status": job.status,
        "phase": job.phase,
        "revision": job.revision,
        "priority": job.analysis.priority,
        "queue": job.queue,
        "warning": warning,
        "batch": job.batch,
        "created_at": timestamp(job.created_at),
        "started_at": timestamp(job.started_at),
        "finished_at": timestamp(job.finished_at),
        "expires_at": timestamp(job.expires_at),
        "request": job.request.to_dict(),
        "progress": _progress(job),
        "reused": _reused(job),
        "error": job.error,
        "metadata": dict(job.analysis.metadata),
        "webhook": show_delivery(job.webhook),
        "links": {
            "self": here,
            "neurons": f"{here}/neurons",
            "senses": f"{here}/senses",
            "summary": f"{here}/summary",
            "export": f"{here}/export?format=parquet",
            "cancel": f"{here}/cancel",
        },
    }


def job_headers(job: Job) -> dict[str, str]:
    return state_headers(job.revision, job.status)


def state_headers(revision: int, status: str) -> dict[str, str]:
    """The tag is weak: the speed and the time left move without a new revision."""
    headers = {"ETag": make_tag(revision), "Cache-Control": "no-cache"}
    return (
        headers
        if status in TERMINAL
        else headers | {"Retry-After": "1" if status == "queued" else "2"}
    )


def etag(job: Job) -> str:
    return make_tag(job.revision)


def make_tag(revision: int) -> str:
    return f'W/"{revision}"'


def _progress(job: Job) -> dict[str, Any]:
    p = job.progress
    return {
        "unit": "tokens",
        "total": p.tokens_total,
        "done": p.tokens_done,
        "shards": {"done": p.shards_done, "total": p.shards_total},
        "layers": {"done": p.layers_done, "total": p.layers_total},
        "tokens_done": p.tokens_done,
        "tokens_total": p.tokens_total,
        "tokens_per_second": p.tokens_per_second,
        "fraction": min(p.tokens_done / p.tokens_total, 1.0) if p.tokens_total else None,
        "eta_seconds": _seconds_left(job),
    }


def _seconds_left(job: Job) -> float | None:
    """Of the phase, as fast as it went so far."""
    p = job.progress
    todo, speed = 0, 0.0  # of other phases nothing is counted
    if job.phase == "scanning":
        todo, speed = (p.tokens_total or 0) - p.tokens_done, p.tokens_per_second or 0.0
    elif job.phase == "merging" and p.phase_s:
        todo, speed = (p.layers_total or 0) - p.layers_done, p.layers_done / p.phase_s
    known = job.status == "running" and todo > 0 and speed > 0
    return round(todo / speed, 1) if known else None


def _reused(job: Job) -> dict[str, Any] | None:
    if not job.reused:
        return None
    layers = sorted(layer for taken in job.reused.values() for layer in taken)
    return {"layers": format_ranges(layers), "jobs": list(job.reused)}


def show_delivery(delivery: Delivery | None) -> dict[str, Any] | None:
    if delivery is None:
        return None
    return asdict(delivery) | {"next_attempt_at": timestamp(delivery.next_attempt_at)}
