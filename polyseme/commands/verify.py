"""`polyseme verify`: whether results are what was written, and how they become so again.

It reads every byte of the store's results, and speaks to Redis, not to the API.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polyseme.commands.accounts import AsJson, Data, RedisUrl, find_redis
from polyseme.errors import CommandError

if TYPE_CHECKING:
    from polyseme.contract.board.board import Board
    from polyseme.contract.files.store import Store
    from polyseme.contract.records.job import Job

_DATA = Path("polyseme-data")
_POLL_S = 0.5

StoreUrl = Annotated[
    str | None,
    typer.Option(envvar="POLYSEME_STORE", help="The store of the service. [DATA/store]"),
]
# Of a manifest: they may differ between two results with the same bytes.
_OF_THE_RUN = ("files", "reused")


class RepairRefused(Exception):
    """Why a result cannot be made again, in a sentence."""


@dataclass(frozen=True)
class Results:
    """The results of a service, in its store and on its board."""

    board: Board
    store: Store

    def list_all(self) -> Iterator[Job]:
        """The analyses of all tenants that have succeeded, newest first."""
        from polyseme.contract.names import DEFAULT_TENANT

        tenants = {DEFAULT_TENANT, *(tenant.id for tenant in self.board.accounts.list_tenants())}
        for tenant in sorted(tenants):
            jobs = self.board.jobs.newest_first(tenant=tenant)
            yield from (job for job in jobs if job.status == "succeeded")

    def find(self, job_id: str) -> Job:
        """Raises CommandError for a job that has no result of its own."""
        job = self.board.jobs.get(job_id)
        if job is None or job.kind != "analysis" or job.status != "succeeded":
            raise CommandError(f"{job_id} is no job that has succeeded.", exit_code=5)
        return job

    def find_damage(self, job: Job) -> dict[str, str]:
        """What is wrong with each damaged file."""
        from polyseme.contract.files.seals import find_result_damage
        from polyseme.contract.files.store import Layout

        return find_result_damage(self.store, Layout.result(job.id))

    def repair(self, job: Job, damage: Mapping[str, str]) -> None:
        """Has the job run once more, and puts what comes out into the damaged files' places when it
        is what was written there. Raises RepairRefused.
        """
        from polyseme.contract.files.results import MANIFEST

        if MANIFEST in damage:
            raise RepairRefused("its manifest is damaged, so nothing says what the files were")
        self._check_corpus(job)
        self._check_vectors(job)
        again = self._run_again(job)
        try:
            self._take_files(job, again, damage)
        finally:
            self._delete(again)

    def _read_manifest(self, job: Job) -> dict[str, Any]:
        from polyseme.contract.files.results import MANIFEST
        from polyseme.contract.files.seals import parse_manifest
        from polyseme.contract.files.store import Layout

        return parse_manifest(self.store.read(f"{Layout.result(job.id)}/{MANIFEST}"))

    def _check_corpus(self, job: Job) -> None:
        name, manifest = job.analysis.corpus, self._read_manifest(job)
        corpus = self.board.registry.get_corpus(name, job.tenant)
        if job.analysis.source_job is None and corpus is None:
            raise RepairRefused(f"its corpus {name!r} was deleted")
        if corpus is not None and corpus.sha256 != manifest["corpus"]["sha256"]:
            raise RepairRefused(f"the corpus {name!r} has other texts now")

    def _check_vectors(self, job: Job) -> None:
        name = job.analysis.neurons.vectors
        if name is None or job.analysis.source_job is not None:
            return
        if not self.board.registry.has_vectors(name, job.tenant):
            raise RepairRefused(f"its vectors {name!r} were deleted")

    def _run_again(self, job: Job) -> Job:
        """Whole layers of the damaged result are taken over from it: see docs/operations.md."""
        queue = self.board.registry.find_queue(job.request.model)
        if not self.board.workers.count_by_queue().get(queue):
            raise RepairRefused(f"no worker serves the queue {queue!r}: start one")
        request = replace(job.analysis, webhook=None, deadline_s=None, reuse=True)
        opened = self.board.jobs.open(request, queue=queue, tenant=job.tenant)
        if opened.verdict != "opened":
            raise RepairRefused("there are too many jobs: wait for some to end")
        try:
            return self._await_end(opened.job)
        except BaseException:
            self.board.jobs.cancel(opened.job)
            raise

    def _await_end(self, job_id: str) -> Job:
        while True:
            job = self.board.jobs.get(job_id)
            if job is None or job.status in ("failed", "cancelled"):
                why = job.error["detail"] if job and job.error else "it was ended"
                raise RepairRefused(f"the job that was to make it again did not succeed: {why}")
            if job.status == "succeeded":
                return job
            time.sleep(_POLL_S)

    def _take_files(self, job: Job, again: Job, damage: Mapping[str, str]) -> None:
        from polyseme.contract.files.seals import SealedFolder, seals_of
        from polyseme.contract.files.store import Layout

        old, new = self._read_manifest(job), self._read_manifest(again)
        wanted, made = seals_of(old), seals_of(new)
        if differing := [name for name in damage if wanted[name] != made.get(name)]:
            changed = [n for n in old if n not in _OF_THE_RUN and old[n] != new.get(n)]
            raise RepairRefused(
                f"{', '.join(differing)} would be other than before: "
                f"{', '.join(changed) or 'nothing that is noted'} has changed"
            )
        result = SealedFolder(self.store, Layout.result(job.id))
        for name in damage:
            result.take(Layout.result(again.id), name, made[name])

    def _delete(self, job: Job) -> None:
        from polyseme.contract.files.store import Layout

        self.board.jobs.delete_record(job.id, job.tenant)
        self.store.delete(Layout.result(job.id))
        self.board.accounts.note_stored(job.tenant, f"job:{job.id}", 0)
        self.board.jobs.confirm_files_deleted(job.id, job.tenant)


def verify(
    jobs: Annotated[list[str] | None, typer.Argument(metavar="[JOB]...", help="Job ids.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every job that has succeeded.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make damaged files again, by a running worker.")
    ] = False,
    data: Data = _DATA,
    redis_url: RedisUrl = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Read all files of results, and list what is damaged; the exit code is then 1."""
    if bool(jobs) == every:
        raise CommandError("Name jobs, or say --all.", exit_code=2)
    are_whole = True
    with open_results(data, redis_url, store) as results:
        for job in results.list_all() if every else [results.find(job) for job in jobs or ()]:
            are_whole &= _verify_one(results, job, repair=repair, as_json=as_json)
    if not are_whole:
        sys.exit(1)


@contextmanager
def open_results(data: Path, redis_url: str | None, store: str | None) -> Iterator[Results]:
    """Raises CommandError when Redis does not answer, or the store is not that Redis'."""
    # Not for those who only talk to a service over HTTP.
    import redis

    from polyseme.contract.board.board import Board
    from polyseme.contract.errors import StoreTaken
    from polyseme.contract.own_store import open_store

    try:
        with find_redis(data, redis_url) as url:
            board = Board.connect(url)
            yield Results(board, open_store(store or str(data / "store"), board.registry))
    except redis.RedisError as e:
        raise CommandError(f"Redis does not answer: {e}") from e
    except StoreTaken as e:
        raise CommandError(e.message) from e


def _verify_one(results: Results, job: Job, *, repair: bool, as_json: bool) -> bool:
    """Whether the result is whole, now."""
    damage, refused, left = results.find_damage(job), None, None
    if damage and repair:
        try:
            results.repair(job, damage)
        except RepairRefused as e:
            refused = str(e)
        left = results.find_damage(job)
    is_whole = not (damage if left is None else left)
    if as_json:
        found = {"job": job.id, "damage": damage, "whole": is_whole, "refused": refused}
        print(json.dumps(found))
        return is_whole
    for name, trouble in damage.items():
        print(f"{job.id}  {name}: {trouble}")
    if damage and repair:
        print(f"{job.id}  " + (f"not made again: {refused}" if refused else "made again"))
    elif not damage:
        print(f"{job.id}  whole")
    return is_whole
