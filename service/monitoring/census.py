"""Numbers for dashboards from a survey of the board. Pure: no Redis, no Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from polyseme.contract.board.jobs import Survey, SurveyedJob

ACTIVE = ("queued", "running", "cancelling")
ENDED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Census:
    active: Mapping[str, int]  # jobs by status
    ended: Mapping[str, int]  # jobs by status, ever
    units_waiting: int  # sent, and begun by nobody
    units_running: int  # held by a live worker
    oldest_wait_s: float  # of the waiting unit that was sent first; 0 when none waits
    oldest_queued_s: float  # age of the oldest job of which no unit has begun; 0 when there is none
    awaiting_other_worker: int = 0  # of which a worker gave a unit back that it cannot run
    awaiting_store: int = 0  # jobs of which a unit found the store away, and none has ended since


def take_census(survey: Survey, patience_s: float) -> Census:
    """patience_s: the deadline of a unit that waits is that long after it was sent."""
    jobs, now, ticks = survey.jobs, survey.now, survey.ticks
    sent = [deadline - patience_s for job in jobs for deadline in _waiting(job, ticks)]
    created = [job.created_at for job in jobs if job.status == "queued"]
    counts = Counter(job.status for job in jobs)
    return Census(
        active={status: counts[status] for status in ACTIVE},
        ended={status: survey.ended.get(status, 0) for status in ENDED},
        units_waiting=len(sent),
        units_running=sum(
            job.deadlines.get(unit, 0.0) > ticks for job in jobs for unit in job.leased
        ),
        oldest_wait_s=max((ticks - t for t in sent), default=0.0),
        oldest_queued_s=max((now - t for t in created), default=0.0),
        awaiting_other_worker=sum(job.awaits_other_worker for job in jobs),
        awaiting_store=sum(job.awaits_store for job in jobs),
    )


def _waiting(job: SurveyedJob, ticks: float) -> list[float]:
    return [
        deadline
        for unit, deadline in job.deadlines.items()
        if unit not in job.leased and deadline > ticks
    ]
