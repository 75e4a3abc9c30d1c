"""Jobs that a service accepted, and what became of each: whether it is there once, how it ended,
and whether its bytes are those of a quiet run.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from polyseme.contract.records.job import Job
from tests.journeys.conftest import MODEL
from tests.journeys.site import CONTEXTS, Site, await_that


@dataclass(frozen=True)
class Accepted:
    job: str
    tries: int  # how often it had to be sent


def submit(
    url: str, corpus: str, key: str, between: Callable[[], None] = lambda: None, **changes: Any
) -> Accepted:
    """Until it is accepted, as a client does: 503 and a lost answer are no refusal.

    key: of idempotency; between: called before it is sent again.
    """
    body = {"model": MODEL, "corpus": {"id": corpus}, "contexts": CONTEXTS, "reuse": False}
    for attempt in range(100):
        try:
            answer = httpx.post(
                f"{url}/v1/jobs",
                json=body | changes,
                headers={"Idempotency-Key": key},
                timeout=30,
                trust_env=False,
            )
            if answer.status_code == 202:
                return Accepted(str(answer.json()["id"]), attempt + 1)
            assert answer.status_code in (429, 503), answer.text
            assert "Retry-After" in answer.headers
        except httpx.TransportError:
            pass
        between()
        time.sleep(0.3)
    raise AssertionError("a submit was not accepted")


class Progress:
    """Whether a unit of any of some jobs was finished since it was looked at last."""

    def __init__(self) -> None:
        self._done = 0

    def has_grown(self, jobs: Sequence[Job]) -> bool:
        before = self._done
        self._done = sum(
            j.progress.shards_done + j.progress.layers_done + j.is_terminal for j in jobs
        )
        return self._done > before


@dataclass(frozen=True)
class Audit:
    """What is found of the accepted jobs."""

    jobs: int
    statuses: dict[str, int]
    lost: int  # accepted, and not on the board
    doubled: int  # on the board, and not accepted; or accepted under an id that another has
    changed: tuple[str, ...]  # jobs whose files are not those of a quiet run
    incomplete: tuple[str, ...]  # succeeded jobs that do not count all their tokens and layers
    attempts: tuple[int, ...]  # at each unit that was begun, the number of each attempt
    units: int

    @property
    def highest_attempt(self) -> int:
        return max(self.attempts, default=0)


def audit(
    site: Site,
    jobs: Sequence[str],
    wanted: Mapping[str, Mapping[str, str]],
    *,
    known: Sequence[str] = (),
) -> Audit:
    """jobs: as they were accepted; wanted: the digests of each; known: other jobs on the board."""
    listed = [j.id for j in site.board.jobs.newest_first()]
    ended = site.board.jobs.get_many(list(dict.fromkeys(jobs)))
    there = {j.id for j in ended} & set(listed)
    unknown = Counter(listed)
    unknown.subtract({*jobs, *known})
    tried = {job: site.attempts(job) for job in there}
    return Audit(
        jobs=len(jobs),
        statuses=dict(Counter(j.status for j in ended)),
        lost=len(set(jobs) - there),
        doubled=len(jobs) - len(set(jobs)) + sum(n for n in unknown.values() if n > 0),
        changed=tuple(sorted(job for job in there if site.digests(job) != wanted[job])),
        incomplete=tuple(j.id for j in ended if j.status == "succeeded" and not _is_complete(j)),
        attempts=tuple(n for found in tried.values() for _, n in found),
        units=sum(len({unit for unit, _ in found}) for found in tried.values()),
    )


def _is_complete(job: Job) -> bool:
    found = job.progress
    return (found.shards_done, found.layers_done, found.tokens_done) == (
        found.shards_total,
        found.layers_total,
        found.tokens_total,
    )


def await_clean(site: Site, jobs: Sequence[str], timeout_s: float = 90) -> None:
    """Until nothing of the ended jobs is in the store but their results."""
    await_that(lambda: all(site.is_clean(job) for job in jobs), timeout_s, site.logs)
