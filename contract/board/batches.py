"""Batches on the board: jobs that were submitted in one call and have one state.

Everything here is atomic.

A batch is opened with all its jobs in one script, and ended in the very script that ends its last
job, so that neither a job nor the event of a batch can be lost between two steps. Its jobs know it
by the field `batch` of their records.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import redis

from polyseme.contract.board.keys import Keys
from polyseme.contract.board.lanes import FIRST_UNITS, HEAD_START_S, PATIENCE_S, lane_of
from polyseme.contract.board.outbox import read_delivery
from polyseme.contract.board.reading import leave_out_damaged, list_before, reading_record
from polyseme.contract.board.scripts import Script
from polyseme.contract.names import DEFAULT_QUEUE, DEFAULT_TENANT
from polyseme.contract.records.job import (
    TERMINAL,
    Delivery,
    new_batch_id,
    new_job_id,
    priority_of,
    version_of,
)
from polyseme.contract.records.request import AnalysisRequest
from polyseme.contract.records.tenants import UNLIMITED, Quotas

BatchStatus = Literal["running", "cancelling", "ended"]
STATES = (
    "queued",
    "running",
    "cancelling",
    "succeeded",
    "failed",
    "cancelled",
)  # of a job in a batch


@dataclass(frozen=True)
class NewJob:
    """An entry of a batch that is to be a job."""

    index: int  # in the request
    request: AnalysisRequest
    tokens: int  # as far as is known
    queue: str = DEFAULT_QUEUE  # where its units wait


@dataclass(frozen=True)
class OpenedBatch:
    # opened, replayed, mismatch; full: the board; jobs, tokens: a quota of the tenant's is used up
    verdict: str
    batch: str


@dataclass(frozen=True)
class Batch:
    id: str
    status: BatchStatus
    revision: (
        int  # grows with every change of it or of one of its jobs, progress included; the ETag
    )
    tenant: str
    created_at: float  # seconds since the epoch, from Redis' clock; so are the others
    finished_at: float | None
    expires_at: float | None  # None before its end, and when it stays
    atomic: bool
    refused: int  # entries that no job was opened for
    counts: Mapping[str, int]  # of jobs, by STATES
    fraction: float  # 0..1, of the jobs' work; an ended job counts whole, however it ended
    metadata: Mapping[str, str]
    webhook: Delivery | None
    origin: Mapping[str, str]  # of the request that made it, as a job has it

    @property
    def is_terminal(self) -> bool:
        return self.status == "ended"


@dataclass(frozen=True)
class Entry:
    """What became of one entry of a request: a job, or a problem."""

    index: int
    job: str | None
    status: str | None  # of the job, the last one also when it is deleted
    problem: Mapping[str, Any] | None


class Batches:
    """Thread-safe, as the redis client is; `redis.RedisError` passes through."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys
        self._open = Script(client, "batches/open")
        self._cancel = Script(client, "batches/cancel")
        self._delete_record = Script(client, "batches/delete_record")

    def open(
        self,
        jobs: Sequence[NewJob],
        refused: Mapping[int, Mapping[str, Any]],
        *,
        atomic: bool,
        full: Mapping[str, Mapping[str, Any]],
        webhook: str | None = None,
        metadata: Mapping[str, str] = {},
        patience_s: float = PATIENCE_S,
        tenant: str = DEFAULT_TENANT,
        idempotency: tuple[str, str, int] | None = None,
        max_active: int = 1000,
        quotas: Quotas = UNLIMITED,
        origin: Mapping[str, str] = {},
    ) -> OpenedBatch:
        """Opens every job that there is room for, with its first unit in its queue, once for one
        idempotency key; none when atomic and one is too many.

        The caller sends the tickets. jobs: at least one. refused: problems by index. full: the
        problem of an entry that finds no room, by verdict `full`, `jobs` and `tokens`. idempotency:
        the key, a digest of the request, and for how many seconds they hold.
        """
        batch = new_batch_id()
        key, digest, ttl_s = idempotency or ("", "", 0)
        fields = {
            "atomic": int(atomic),
            "total": len(jobs) + len(refused),
            "metadata": json.dumps(metadata),
            "request": json.dumps({"webhook": None if webhook is None else {"url": webhook}}),
            "origin": json.dumps(origin),
        }
        entries: list[str | int] = []
        for job in jobs:
            lane = lane_of(job.queue, priority_of(job.request))
            request = json.dumps(job.request.to_dict())
            entries += [job.index, new_job_id(), request, job.tokens, lane]
        verdict, found = self._open(
            record=self._keys.batch(batch),
            batch_jobs=self._keys.batch_jobs(batch),
            batch_open=self._keys.batch_open(batch),
            batch_refused=self._keys.batch_refused(batch),
            batches=self._keys.batches(tenant),
            jobs=self._keys.jobs(tenant),
            active=self._keys.active(),
            tenant_active=self._keys.tenant_active(tenant),
            idem=self._keys.batch_idem(tenant, key),
            prefix=self._keys.prefix,
            batch=batch,
            digest=digest,
            digest_ttl_s=ttl_s,
            most_active=max_active,
            most_jobs=quotas.active_jobs,
            most_tokens=quotas.queued_tokens,
            atomic=int(atomic),
            tenant=tenant,
            origin=json.dumps(origin),
            version=max((version_of(job.request) for job in jobs), default=1),
            fields=json.dumps(fields),
            refused=_dump_problems(refused),
            problems=_dump_problems(full),
            first=FIRST_UNITS["analysis"],
            patience_s=patience_s,
            head_start_s=HEAD_START_S,
            entries=entries,
        )
        return OpenedBatch(verdict, found)

    def find_submitted(self, key: str, tenant: str = DEFAULT_TENANT) -> tuple[str, str] | None:
        """The batch that an idempotency key opened, and the digest of its request."""
        name = self._keys.batch_idem(tenant, key)
        batch, digest = cast(list[str | None], self._redis.hmget(name, "batch", "digest"))
        return (batch, digest) if batch and digest else None

    def get(self, batch: str) -> Batch | None:
        """Raises DamagedRecord."""
        [found] = self._read([batch])
        return _read_batch(*found) if found else None

    def read_tag(self, batch: str, tenant: str = DEFAULT_TENANT) -> tuple[int, str] | None:
        """The revision and status of a tenant's batch, for a fraction of what reading it costs."""
        names = ("revision", "status", "tenant")
        revision, status, owner = cast(
            list[str | None], self._redis.hmget(self._keys.batch(batch), *names)
        )
        return (int(revision), status) if revision and status and owner == tenant else None

    def list_page(
        self,
        *,
        before: tuple[float, str] | None = None,
        count: int = 50,
        tenant: str = DEFAULT_TENANT,
    ) -> list[Batch]:
        """A tenant's batches newest first, older than `before` (created_at, id).

        Drops those that have expired.
        """
        name = self._keys.batches(tenant)
        ids = [batch for _, batch in list_before(self._redis, name, before, count)]
        found = self._read(ids)
        batches = list(leave_out_damaged(filter(None, found), _read_batch))
        if gone := [batch for batch, there in zip(ids, found, strict=True) if not there]:
            self._redis.zrem(name, *gone)
            return batches or self.list_page(before=before, count=count, tenant=tenant)
        return batches

    def list_entries(self, batch: str) -> list[Entry]:
        """By index."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.lrange(self._keys.batch_jobs(batch), 0, -1)
        pipe.hgetall(self._keys.batch_ended(batch))
        pipe.hgetall(self._keys.batch_refused(batch))
        listed, ended, refused = pipe.execute()
        pairs = [(int(index), job) for index, _, job in (line.partition(" ") for line in listed)]
        states = ended | self._states([job for _, job in pairs if job not in ended])
        entries = [Entry(index, job, states.get(job), None) for index, job in pairs]
        entries += [
            Entry(int(index), None, None, json.loads(problem)) for index, problem in refused.items()
        ]
        return sorted(entries, key=lambda e: e.index)

    def list_jobs(self, batch: str) -> list[str]:
        """Of it all, in their order."""
        listed = cast(list[str], self._redis.lrange(self._keys.batch_jobs(batch), 0, -1))
        return [line.partition(" ")[2] for line in listed]

    def list_open_jobs(self, batch: str) -> list[str]:
        """Those that have not ended."""
        return sorted(cast(set[str], self._redis.smembers(self._keys.batch_open(batch))))

    def cancel(self, batch: str) -> str:
        """Asks for the end of all its jobs. Returns "cancelling", "ended" or "gone"."""
        verdict = self._cancel(
            record=self._keys.batch(batch),
            batch_open=self._keys.batch_open(batch),
            prefix=self._keys.prefix,
        )
        return cast(str, verdict)

    def delete_record(self, batch: str, tenant: str = DEFAULT_TENANT) -> str:
        """Removes an ended batch; its jobs stay.

        "deleted", "gone", or the status that forbids it.
        """
        verdict = self._delete_record(
            record=self._keys.batch(batch),
            batch_jobs=self._keys.batch_jobs(batch),
            batch_ended=self._keys.batch_ended(batch),
            batch_refused=self._keys.batch_refused(batch),
            batches=self._keys.batches(tenant),
            expired=self._keys.expired(batch),
            prefix=self._keys.prefix,
            batch=batch,
        )
        return cast(str, verdict)

    def _read(
        self, batches: Iterable[str]
    ) -> list[tuple[dict[str, str], list[tuple[str, float]]] | None]:
        """What `_read_batch` takes of each; None of one that is not there."""
        pipe = self._redis.pipeline(transaction=True)
        for batch in batches:
            pipe.hgetall(self._keys.batch(batch))
            pipe.smembers(self._keys.batch_open(batch))
        found = pipe.execute()
        pairs = list(zip(found[::2], found[1::2], strict=True))
        work = self._measure([job for _, jobs in pairs for job in jobs])
        return [(record, [work[job] for job in jobs]) if record else None for record, jobs in pairs]

    def _states(self, jobs: Iterable[str]) -> dict[str, str]:
        return {job: status for job, (status, _) in self._measure(jobs).items()}

    def _measure(self, jobs: Iterable[str]) -> dict[str, tuple[str, float]]:
        """The status of each job, and the share of its tokens that is run."""
        jobs = list(jobs)
        pipe = self._redis.pipeline(transaction=False)
        for job in jobs:
            pipe.hmget(self._keys.job(job), "status", "tokens_done", "tokens_total")
            pipe.hvals(self._keys.running(job))
        found = pipe.execute() if jobs else []
        return {
            job: (status or "cancelled", _share(done, total, running))
            for job, (status, done, total), running in zip(
                jobs, found[::2], found[1::2], strict=True
            )
        }


def _dump_problems(problems: Mapping[Any, Mapping[str, Any]]) -> str:
    return json.dumps({str(name): json.dumps(problem) for name, problem in problems.items()})


def _share(done: str | None, total: str | None, running: Iterable[str]) -> float:
    whole = int(total or 0)
    return min((int(done or 0) + sum(map(int, running))) / whole, 1.0) if whole else 0.0


def _read_batch(record: Mapping[str, str], open_jobs: Sequence[tuple[str, float]]) -> Batch:
    """open_jobs: of each that had not ended, what `_measure` gives. Raises DamagedRecord."""
    with reading_record(record.get("id", "a batch")):
        return _read_sound_batch(record, open_jobs)


def _read_sound_batch(record: Mapping[str, str], open_jobs: Sequence[tuple[str, float]]) -> Batch:
    counts = Counter({state: int(record.get(state, 0)) for state in TERMINAL})
    ended = counts.total()
    counts.update(status for status, _ in open_jobs)
    done = sum(1.0 if status in TERMINAL else share for status, share in open_jobs)
    return Batch(
        id=record["id"],
        status=cast(BatchStatus, record["status"]),
        revision=int(record["revision"]),
        tenant=record["tenant"],
        created_at=float(record["created_at"]),
        finished_at=float(record["finished_at"]) if "finished_at" in record else None,
        expires_at=float(record["expires_at"]) if "expires_at" in record else None,
        atomic=record["atomic"] == "1",
        refused=int(record["refused"]),
        counts={state: counts[state] for state in STATES},
        fraction=(ended + done) / max(ended + len(open_jobs), 1),
        metadata=json.loads(record["metadata"]),
        webhook=read_delivery((json.loads(record["request"])["webhook"] or {}).get("url"), record),
        origin=json.loads(record["origin"]),
    )
