"""Jobs on the board: what the API opens, reads, cancels and deletes, and how one ends.

A job is an analysis or a live check. Its units are elsewhere (`units`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import redis

from polyseme.contract.board.job_record import read_job
from polyseme.contract.board.keys import Keys
from polyseme.contract.board.lanes import FIRST_UNITS, HEAD_START_S, PATIENCE_S, lane_of
from polyseme.contract.board.reading import leave_out_damaged, list_before, read_time
from polyseme.contract.board.scripts import Script
from polyseme.contract.names import DEFAULT_QUEUE, DEFAULT_TENANT
from polyseme.contract.records.job import (
    REMEMBERED_S,
    Job,
    Phase,
    Request,
    kind_of,
    kind_of_request,
    new_job_id,
    priority_of,
    version_of,
)
from polyseme.contract.records.tenants import UNLIMITED, Quotas

IDEMPOTENCY_S = 24 * 3600
SECOND_LOOK_S = 3600  # at the most, after an expired job was first seen, until it is deleted

_READ_BYTES = 4 << 20  # of records that are read at once
_FEW = 16  # records that are so whatever their size, which max_record_bytes bounds
_LISTED = 200  # ids read at once


@dataclass(frozen=True)
class Opened:
    # opened, replayed, mismatch; full: the board; jobs, tokens: a quota of the tenant's is used up
    verdict: str
    job: str


@dataclass(frozen=True)
class SurveyedJob:
    """An active job, and its units in flight."""

    status: str
    created_at: float  # by Redis' clock, like all times here
    deadlines: Mapping[str, float]  # by unit, and by the board's own clock
    leased: frozenset[str]  # units begun by a worker, dead or alive
    awaits_store: bool = False
    awaits_other_worker: bool = False


@dataclass(frozen=True)
class Survey:
    now: float
    ticks: float  # by the board's own clock
    jobs: tuple[SurveyedJob, ...]
    ended: Mapping[str, int]  # jobs by status, ever


class Jobs:
    """Thread-safe, as the redis client is; `redis.RedisError` passes through."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys
        self._open = Script(client, "jobs/open")
        self._cancel = Script(client, "jobs/cancel")
        self._set_phase = Script(client, "jobs/set_phase")
        self._end = Script(client, "jobs/end")
        self._list_expired = Script(client, "jobs/list_expired")
        self._note_store_away = Script(client, "jobs/note_store_away")
        self._note_wait = Script(client, "jobs/note_wait")
        self._read_ticks = Script(client, "units/read_ticks")
        self._delete_record = Script(client, "jobs/delete_record")

    def open(
        self,
        request: Request,
        *,
        queue: str = DEFAULT_QUEUE,
        patience_s: float = PATIENCE_S,
        tenant: str = DEFAULT_TENANT,
        tokens: int = 0,
        idempotency: tuple[str, str] | None = None,
        max_active: int = 1000,
        quotas: Quotas = UNLIMITED,
        origin: Mapping[str, str] = {},
    ) -> Opened:
        """Records a queued job and has its first unit wait in the queue, once for one idempotency
        key of its tenant's.

        The caller sends a ticket. tokens: what it will run, as far as is known. idempotency: the
        key, and a digest of the request.
        """
        kind = kind_of_request(request)
        job = new_job_id(kind)
        key, digest = idempotency or ("", "")
        verdict, found = self._open(
            record=self._keys.job(job),
            jobs=self._list_of(job, tenant),
            active=self._keys.active(),
            tenant_active=self._keys.tenant_active(tenant),
            idem=self._keys.idem(tenant, key),
            prefix=self._keys.prefix,
            job=job,
            request=json.dumps(request.to_dict()),
            digest=digest,
            digest_ttl_s=IDEMPOTENCY_S,
            most_active=max_active,
            tenant=tenant,
            tokens=tokens,
            most_jobs=quotas.active_jobs,
            most_tokens=quotas.queued_tokens,
            origin=json.dumps(origin),
            version=version_of(request),
            first=FIRST_UNITS[kind],
            lane=lane_of(queue, priority_of(request)),
            patience_s=patience_s,
            head_start_s=HEAD_START_S,
        )
        return Opened(verdict, found)

    def find_submitted(self, key: str, tenant: str = DEFAULT_TENANT) -> tuple[str, str] | None:
        """The job that an idempotency key opened, and the digest of its request."""
        job, digest = cast(
            list[str | None], self._redis.hmget(self._keys.idem(tenant, key), "job", "digest")
        )
        return (job, digest) if job and digest else None

    # Reading

    def get(self, job: str) -> Job | None:
        """Raises DamagedRecord."""
        [(record, running)], now = self._read_records([job])
        return read_job(record, running, now) if record else None

    def get_many(self, jobs: Iterable[str]) -> list[Job]:
        """Those of the jobs that are there and can be read."""
        return list(self.iterate(jobs))

    def iterate(self, jobs: Iterable[str]) -> Iterator[Job]:
        """The same, one after another: however large their records are, few are in memory."""
        for names in self._in_parts(list(jobs)):
            records, now = self._read_records(names)
            there = ((record, running, now) for record, running in records if record)
            yield from leave_out_damaged(there, read_job)

    def _in_parts(self, jobs: Sequence[str]) -> Iterator[Sequence[str]]:
        """Few enough at a time for what is read at once."""
        if len(jobs) <= _FEW:  # as polls ask for: not one question more
            yield jobs
            return
        pipe = self._redis.pipeline(transaction=False)
        for job in jobs:
            pipe.hstrlen(self._keys.job(job), "request")
        first = size = 0
        for i, length in enumerate(pipe.execute()):
            if size + length > _READ_BYTES and i > first:
                yield jobs[first:i]
                first, size = i, 0
            size += length
        yield jobs[first:]

    def _read_records(
        self, jobs: Iterable[str]
    ) -> tuple[list[tuple[dict[str, str], list[str]]], float]:
        """Record and running units of each, and when that was, in one round trip."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.time()
        for job in jobs:
            pipe.hgetall(self._keys.job(job))
            pipe.hvals(self._keys.running(job))
        (seconds, micros), *found = pipe.execute()
        return list(zip(found[::2], found[1::2], strict=True)), seconds + micros / 1e6

    def newest_first(
        self, *, before: tuple[float, str] | None = None, tenant: str = DEFAULT_TENANT
    ) -> Iterator[Job]:
        """A tenant's analyses older than `before` (created_at, id), read as they are asked for."""
        while places := list_before(self._redis, self._keys.jobs(tenant), before, _LISTED):
            yield from self.iterate(job for _, job in places)
            before = places[-1]

    def exists(self, job: str) -> bool:
        """Whether there is a record of it, of any tenant's."""
        return bool(self._redis.exists(self._keys.job(job)))

    def list_active(self) -> list[str]:
        """Of all tenants and kinds, oldest first."""
        return cast(list[str], self._redis.zrange(self._keys.active(), 0, -1))

    def count_active(self) -> int:
        return int(self._redis.zcard(self._keys.active()))

    def list_scans(
        self, address: str, tenant: str = DEFAULT_TENANT, *, count: int = 200
    ) -> list[str]:
        """The tenant's jobs that succeeded with a scan of this address, the newest of them, last
        ended first.

        A job has its address from the field `scan_address` of its record.
        """
        scans = self._keys.scans(tenant, address)
        return cast(list[str], self._redis.zrevrange(scans, 0, count - 1))

    def read_tag(self, job: str, tenant: str = DEFAULT_TENANT) -> tuple[int, str] | None:
        """The revision and status of a tenant's job, for a fraction of what reading it costs.

        None when there is no such job, and for one that expires, which only its record tells.
        """
        names = ("revision", "status", "tenant", "expires_at")
        fields = cast(list[str | None], self._redis.hmget(self._keys.job(job), *names))
        revision, status, owner, expires_at = fields
        known = revision and status and owner == tenant and expires_at is None
        return (int(revision or 0), status or "") if known else None

    def survey(self) -> Survey:
        """What waits and what runs, for dashboards.

        A unit may change its state between two reads.
        """
        ticks = float(self._read_ticks(prefix=self._keys.prefix))
        pipe = self._redis.pipeline(transaction=False)
        pipe.time()
        pipe.hgetall(self._keys.ended())
        for job in self.list_active():
            pipe.hmget(
                self._keys.job(job), "status", "created_at", "store_away_since", "waits_because"
            )
            pipe.zrange(self._keys.flight(job), 0, -1, withscores=True)
            pipe.hkeys(self._keys.leases(job))
        (seconds, micros), ended, *found = pipe.execute()
        rows = zip(found[::3], found[1::3], found[2::3], strict=True)
        jobs = tuple(
            SurveyedJob(
                status,
                float(created),
                dict(flight),
                frozenset(leases),
                away is not None,
                why is not None,
            )
            for (status, created, away, why), flight, leases in rows
            if status
        )
        counts = {status: int(n) for status, n in ended.items()}
        return Survey(seconds + micros / 1e6, ticks, jobs, counts)

    # Its life

    def set_phase(self, job: str, phase: Phase) -> None:
        self._set_phase(record=self._keys.job(job), prefix=self._keys.prefix, phase=phase)

    def cancel(self, job: str) -> str:
        """Asks for the job's end. Returns its status afterwards, or "gone"."""
        return cast(str, self._cancel(record=self._keys.job(job), prefix=self._keys.prefix))

    def end(
        self, job: str, status: str, error: Mapping[str, str] | None = None, *, keep_s: float = 0.0
    ) -> bool:
        """Moves a job to a terminal status, once. A job being cancelled cannot succeed any more.

        keep_s: until it expires; 0 keeps it.
        """
        ended = self._end(
            record=self._keys.job(job),
            flight=self._keys.flight(job),
            leases=self._keys.leases(job),
            attempts=self._keys.attempts(job),
            done=self._keys.done(job),
            running=self._keys.running(job),
            waiting=self._keys.waiting(job),
            active=self._keys.active(),
            ended=self._keys.ended(),
            expiring=self._keys.expiring(),
            webhooks=self._keys.webhooks(),
            prefix=self._keys.prefix,
            job=job,
            outcome=status,
            error=json.dumps(error) if error else "",
            keep_s=keep_s,
            remembered_s=REMEMBERED_S,
        )
        return bool(ended)

    def note_store_away(self, job: str) -> float:
        """Notes that a job waits for the store. Returns for how many seconds it has."""
        record, prefix = self._keys.job(job), self._keys.prefix
        return float(self._note_store_away(record=record, prefix=prefix))

    def note_wait(self, job: str, why: str) -> None:
        """Notes why a worker gave a unit of it back, until one is finished."""
        self._note_wait(record=self._keys.job(job), prefix=self._keys.prefix, why=why)

    def list_expired(self) -> list[str]:
        """The ended jobs whose time is over and was over at a look long before, and whose record is
        still there.
        """
        found = self._list_expired(
            expiring=self._keys.expiring(),
            expiring_seen=self._keys.expiring_seen(),
            prefix=self._keys.prefix,
            wait_most_s=SECOND_LOOK_S,
        )
        return cast(list[str], found)

    def expired_tenant(self, name: str) -> str | None:
        """Whose a job or batch was that expired and is deleted.

        None for one that never was, or was deleted otherwise.
        """
        return cast(str | None, self._redis.get(self._keys.expired(name)))

    def delete_record(
        self, job: str, tenant: str = DEFAULT_TENANT, *, has_expired: bool = False
    ) -> str:
        """Removes the record of a terminal job: "deleted", "gone", or the status that forbids it.

        Its files are to be deleted after that, and then `confirm_files_deleted` be called. An
        expired one is remembered as such.
        """
        verdict = self._delete_record(
            record=self._keys.job(job),
            jobs=self._list_of(job, tenant),
            expiring=self._keys.expiring(),
            files_to_delete=self._keys.files_to_delete(),
            expired=self._keys.expired(job),
            prefix=self._keys.prefix,
            job=job,
            tenant=tenant,
            remembered_s=REMEMBERED_S if has_expired else 0,
        )
        return cast(str, verdict)

    def files_to_delete(self, *, for_s: float) -> list[tuple[str, str]]:
        """Tenant and id of the jobs whose record was deleted at least so long ago, and whose files
        nobody has confirmed to be.
        """
        before = read_time(self._redis) - for_s
        names = self._redis.zrange(self._keys.files_to_delete(), "-inf", before, byscore=True)
        parts = (name.partition(" ") for name in cast(list[str], names))
        return [(tenant, job) for tenant, _, job in parts]

    def confirm_files_deleted(self, job: str, tenant: str = DEFAULT_TENANT) -> None:
        self._redis.zrem(self._keys.files_to_delete(), f"{tenant} {job}")

    def _list_of(self, job: str, tenant: str) -> str:
        is_analysis = kind_of(job) == "analysis"
        return self._keys.jobs(tenant) if is_analysis else self._keys.activations(tenant)
