"""Deletes what has expired, and what a deletion that was cut short has left.

Every worker sweeps; twice is no harm.
"""

from __future__ import annotations

import logging

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.records.job import ActivationsRequest, Job, Request

log = logging.getLogger(__name__)

_PATIENCE_S = (
    60.0  # after which who forgot a job is taken to have died before its files were deleted
)


class Reaper:
    def __init__(self, board: Board, store: Store) -> None:
        self._board = board
        self._store = store

    def sweep(self) -> None:
        """Raises OSError, and deletes nothing, while the store is away."""
        self._store.check()
        if expired := self._board.jobs.list_expired():
            read = self._sources_in_use()
            for job in self._board.jobs.iterate(e for e in expired if e not in read):
                self._expire(job)
        for tenant, job_id in self._board.jobs.files_to_delete(for_s=_PATIENCE_S):
            self._delete_files(job_id, tenant)

    def _sources_in_use(self) -> set[str]:
        """The finished jobs whose results jobs that have not ended read."""
        jobs = self._board.jobs.iterate(self._board.jobs.list_active())
        return {source for job in jobs if (source := _source_of(job.request)) is not None}

    def _expire(self, job: Job) -> None:
        if self._board.jobs.delete_record(job.id, job.tenant, has_expired=True) == "deleted":
            self._delete_files(job.id, job.tenant)
            log.info("job %s of %s has expired and is deleted", job.id, job.tenant)

    def _delete_files(self, job_id: str, tenant: str) -> None:
        self._store.delete(Layout.result(job_id))
        self._store.delete(Layout.work(job_id))
        self._board.accounts.note_stored(tenant, f"job:{job_id}", 0)
        self._board.jobs.confirm_files_deleted(job_id, tenant)


def _source_of(request: Request) -> str | None:
    return request.job if isinstance(request, ActivationsRequest) else request.source_job
