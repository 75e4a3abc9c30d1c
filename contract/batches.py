"""Batches on the board: jobs that were submitted in one call and have one state. Everything here is atomic.

A batch is opened with all its jobs in one script, and ended in the very script that ends its last job, so that neither
a job nor the event of a batch can be lost between two steps. Its jobs know it by the field `batch` of their records.

Keys, under the board's prefix:
  batch:<id>          hash: the record, with how many of its jobs ended how (`succeeded`, `failed`, `cancelled`) and,
                      as a job's record has it, how its webhook stands
  batch:<id>:jobs     list of "<index> <job>"
  batch:<id>:open     set of its jobs that have not ended
  batch:<id>:ended    hash: job -> status, which outlives the job
  batch:<id>:refused  hash: index -> the problem of an entry that no job was opened for, as JSON
  batches             zset by creation; of another tenant than "default" under tenant:<tenant>:
  batch_idem:<key>    hash: batch, digest; likewise
  expired:<id>        as for a job; set when the batch ends, if it is to expire
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import redis

from contract.connection import NOW
from contract.opening import RECORD, REMEMBER, ROOM
from contract.records import JOB_VERSION, REMEMBERED_S, TERMINAL, Delivery, new_batch_id, new_job_id
from contract.tenants import DEFAULT_TENANT, UNLIMITED, Quotas
from contract.webhooks import read_delivery

BatchStatus = Literal["running", "cancelling", "ended"]
STATES = ("queued", "running", "cancelling", "succeeded", "failed", "cancelled")  # of a job in a batch

# Text of the scripts that change a job. batch_of(record): the key of the batch of a job, if it is in one.
# grow(record): a new revision of the job, and of its batch.
GROW = """
local function batch_of(record)
  local id, batch = unpack(redis.call('HMGET', record, 'id', 'batch'))
  if not id or not batch then return nil end
  return string.sub(record, 1, #record - #'job:' - #id) .. 'batch:' .. batch
end
local function grow(record)
  redis.call('HINCRBY', record, 'revision', 1)
  local batch = batch_of(record)
  if batch then redis.call('HINCRBY', batch, 'revision', 1) end
end
"""

# Part of the script that ends a job: see RECORD_EVENT in `contract/webhooks.py`. ARGV[2] is the status, ARGV[4] how
# many seconds the job is kept (0: always). Needs record_event.
END_IN_BATCH = (
    f"local REMEMBERED_S = {REMEMBERED_S}\n"
    + """
local function end_batch(batch, keep)
  local id, tenant = unpack(redis.call('HMGET', batch, 'id', 'tenant'))
  redis.call('HSET', batch, 'status', 'ended', 'finished_at', string.format('%.6f', now))
  local prefix = string.sub(batch, 1, #batch - #'batch:' - #id)
  record_event(prefix, batch, id)
  if keep <= 0 then return end
  redis.call('HSET', batch, 'expires_at', string.format('%.6f', now + keep))
  for _, part in ipairs({'', ':jobs', ':ended', ':refused'}) do
    redis.call('PEXPIRE', batch .. part, math.ceil(1000 * keep))
  end
  redis.call('SET', prefix .. 'expired:' .. id, tenant, 'EX', math.ceil(keep) + REMEMBERED_S)
end
local batch = batch_of(KEYS[1])
if batch and redis.call('SREM', batch .. ':open', ARGV[1]) == 1 then
  redis.call('HSET', batch .. ':ended', ARGV[1], ARGV[2])
  redis.call('HINCRBY', batch, ARGV[2], 1)
  if redis.call('SCARD', batch .. ':open') == 0 then end_batch(batch, tonumber(ARGV[4])) end
end
"""
)

# KEYS: batch, batches, jobs, active, active:<tenant>, idem; ARGV: id, idempotency digest ('' for none), its ttl, most
# active, the tenant's most, its most tokens (0 for no limit), atomic, tenant, origin, version, fields of the record as
# JSON, refused entries as JSON {index: problem}, problems by verdict as JSON, then of each job index, id, request,
# tokens.  Returns {verdict, batch}: opened, replayed, mismatch, or what of `admit` forbids the first job refused.
_OPEN = (
    NOW
    + REMEMBER
    + ROOM
    + RECORD
    + """
local submitted = find_submitted(KEYS[6], 'batch', ARGV[2])
if submitted then return submitted end
-- A call whose answer was lost on the way is made again, with the same id.
if redis.call('EXISTS', KEYS[1]) == 1 then return {'opened', ARGV[1]} end
local id, tenant, atomic = ARGV[1], ARGV[8], ARGV[7] == '1'
local prefix = string.sub(KEYS[1], 1, #KEYS[1] - #'batch:' - #id) .. 'job:'
local admit = room(prefix, KEYS[4], KEYS[5], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]))
local admitted, turned_away, first = {}, {}, nil
for i = 14, #ARGV, 4 do
  local verdict = admit(tonumber(ARGV[i + 3]))
  if verdict then
    first = first or verdict
    turned_away[#turned_away + 1] = {ARGV[i], verdict}
  else
    admitted[#admitted + 1] = i
  end
end
if first and (atomic or #admitted == 0) then return {first, ''} end
local problems = cjson.decode(ARGV[13])
for index, problem in pairs(cjson.decode(ARGV[12])) do redis.call('HSET', KEYS[1] .. ':refused', index, problem) end
for _, pair in ipairs(turned_away) do redis.call('HSET', KEYS[1] .. ':refused', pair[1], problems[pair[2]]) end
for place, i in ipairs(admitted) do
  local job = ARGV[i + 1]
  -- A microsecond apart, so that lists have them in the order of the batch.
  local at = string.format('%.6f', now + place * 1e-6)
  record_job(prefix .. job, {KEYS[3], KEYS[4], KEYS[5]}, at, job, ARGV[i + 2], tenant, ARGV[i + 3], ARGV[9], ARGV[10])
  redis.call('HSET', prefix .. job, 'batch', id)
  redis.call('RPUSH', KEYS[1] .. ':jobs', ARGV[i] .. ' ' .. job)
  redis.call('SADD', KEYS[1] .. ':open', job)
end
local at = string.format('%.6f', now)
redis.call('HSET', KEYS[1], 'id', id, 'tenant', tenant, 'status', 'running', 'revision', 1, 'created_at', at)
for name, value in pairs(cjson.decode(ARGV[11])) do redis.call('HSET', KEYS[1], name, value) end
redis.call('HSET', KEYS[1], 'refused', redis.call('HLEN', KEYS[1] .. ':refused'))
redis.call('ZADD', KEYS[2], at, id)
remember_submitted(KEYS[6], 'batch', ARGV[2], id, ARGV[3])
return {'opened', id}
"""
)

# KEYS: batch; ARGV: prefix of job records.  Asks for the end of every job of it that has not ended.
_CANCEL = (
    GROW
    + """
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return 'gone' end
if status == 'ended' then return status end
redis.call('HSET', KEYS[1], 'status', 'cancelling')
redis.call('HINCRBY', KEYS[1], 'revision', 1)
for _, job in ipairs(redis.call('SMEMBERS', KEYS[1] .. ':open')) do
  local record = ARGV[1] .. job
  local state = redis.call('HGET', record, 'status')
  if state == 'queued' or state == 'running' then
    redis.call('HSET', record, 'status', 'cancelling')
    grow(record)
  end
end
return 'cancelling'
"""
)

# KEYS: batch, batches, expired; ARGV: id, prefix of job records.  Its jobs are in no batch afterwards.
_FORGET = """
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return 'gone' end
if status ~= 'ended' then return status end
for _, job in ipairs(redis.call('HKEYS', KEYS[1] .. ':ended')) do redis.call('HDEL', ARGV[2] .. job, 'batch') end
redis.call('DEL', KEYS[1], KEYS[1] .. ':jobs', KEYS[1] .. ':ended', KEYS[1] .. ':refused', KEYS[3])
redis.call('ZREM', KEYS[2], ARGV[1])
return 'deleted'
"""


@dataclass(frozen=True)
class NewJob:
    """An entry of a batch that is to be a job."""

    index: int  # in the request
    request: Mapping[str, Any]  # to_dict() of an AnalysisRequest
    tokens: int  # as far as is known


@dataclass(frozen=True)
class OpenedBatch:
    verdict: str  # opened, replayed, mismatch; full: the board; jobs, tokens: a quota of the tenant's is used up
    batch: str


@dataclass(frozen=True)
class Batch:
    id: str
    status: BatchStatus
    revision: int  # grows with every change of it or of one of its jobs, progress included; the ETag
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

    def __init__(self, client: redis.Redis, prefix: str = "polyseme:") -> None:
        self._redis = client
        self._prefix = prefix
        self._open = client.register_script(_OPEN)
        self._cancel = client.register_script(_CANCEL)
        self._forget = client.register_script(_FORGET)

    def open_batch(
        self,
        jobs: Sequence[NewJob],
        refused: Mapping[int, Mapping[str, Any]],
        *,
        atomic: bool,
        full: Mapping[str, Mapping[str, Any]],
        webhook: str | None = None,
        metadata: Mapping[str, str] = {},
        tenant: str = DEFAULT_TENANT,
        idempotency: tuple[str, str, int] | None = None,
        max_active: int = 1000,
        quotas: Quotas = UNLIMITED,
        origin: Mapping[str, str] = {},
    ) -> OpenedBatch:
        """Opens every job that there is room for, once for one idempotency key; none when atomic and one is too many.

        jobs: at least one. refused: problems by index. full: the problem of an entry that finds no room, by verdict
        `full`, `jobs` and `tokens`. idempotency: the key, a digest of the request, and for how many seconds they hold.
        """
        batch = new_batch_id()
        key, digest, ttl = idempotency or ("", "", 0)
        own = ("batches", "jobs")
        keys = [self._key("batch", batch), *(self._own(tenant, name) for name in own), self._key("active")]
        keys += [self._key("active", tenant), self._own(tenant, "batch_idem", key)]
        fields = {
            "atomic": int(atomic),
            "total": len(jobs) + len(refused),
            "metadata": json.dumps(metadata),
            "request": json.dumps({"webhook": None if webhook is None else {"url": webhook}}),
        }
        args: list[Any] = [batch, digest, ttl, max_active, quotas.active_jobs, quotas.queued_tokens, int(atomic)]
        args += [tenant, json.dumps(origin), JOB_VERSION, json.dumps(fields)]
        args += [_dump_problems(refused), _dump_problems(full)]
        for job in jobs:
            args += [job.index, new_job_id(), json.dumps(job.request), job.tokens]
        return OpenedBatch(*self._open(keys=keys, args=args))

    def find_submitted(self, key: str, tenant: str = DEFAULT_TENANT) -> tuple[str, str] | None:
        """The batch that an idempotency key opened, and the digest of its request."""
        name = self._own(tenant, "batch_idem", key)
        batch, digest = cast(list[str | None], self._redis.hmget(name, "batch", "digest"))
        return (batch, digest) if batch and digest else None

    def get_batch(self, batch: str) -> Batch | None:
        return next(iter(self._read([batch])), None)

    def read_tag(self, batch: str, tenant: str = DEFAULT_TENANT) -> tuple[int, str] | None:
        """The revision and status of a tenant's batch, for a fraction of what reading it costs."""
        names = ("revision", "status", "tenant")
        revision, status, owner = cast(list[str | None], self._redis.hmget(self._key("batch", batch), *names))
        return (int(revision), status) if revision and status and owner == tenant else None

    def list_batches(
        self, *, before: tuple[float, str] | None = None, count: int = 50, tenant: str = DEFAULT_TENANT
    ) -> list[Batch]:
        """A tenant's batches newest first, older than `before` (created_at, id). Drops those that have expired."""
        name, top = self._own(tenant, "batches"), f"{before[0]:.6f}" if before else "+inf"
        found = cast(
            list[tuple[str, float]],
            self._redis.zrange(name, top, "-inf", byscore=True, desc=True, offset=0, num=count + 1, withscores=True),
        )
        ids = [batch for batch, score in found if before is None or (score, batch) < before][:count]
        batches = self._read(ids)
        if gone := set(ids) - {b.id for b in batches}:
            self._redis.zrem(name, *gone)
            return batches or self.list_batches(before=before, count=count, tenant=tenant)
        return batches

    def entries(self, batch: str) -> list[Entry]:
        """By index."""
        pipe = self._redis.pipeline(transaction=True)
        key = self._key("batch", batch)
        pipe.lrange(f"{key}:jobs", 0, -1)
        pipe.hgetall(f"{key}:ended")
        pipe.hgetall(f"{key}:refused")
        listed, ended, refused = pipe.execute()
        pairs = [(int(index), job) for index, _, job in (line.partition(" ") for line in listed)]
        states = ended | self._states([job for _, job in pairs if job not in ended])
        found = [Entry(index, job, states.get(job), None) for index, job in pairs]
        found += [Entry(int(index), None, None, json.loads(problem)) for index, problem in refused.items()]
        return sorted(found, key=lambda e: e.index)

    def jobs(self, batch: str) -> list[str]:
        """Of it all, in their order."""
        listed = cast(list[str], self._redis.lrange(self._key("batch", batch, "jobs"), 0, -1))
        return [line.partition(" ")[2] for line in listed]

    def open_jobs(self, batch: str) -> list[str]:
        """Those that have not ended."""
        return sorted(cast(set[str], self._redis.smembers(self._key("batch", batch, "open"))))

    def cancel(self, batch: str) -> str:
        """Asks for the end of all its jobs. Returns "cancelling", "ended" or "gone"."""
        return cast(str, self._cancel(keys=[self._key("batch", batch)], args=[self._key("job", "")]))

    def forget(self, batch: str, tenant: str = DEFAULT_TENANT) -> str:
        """Removes an ended batch; its jobs stay. "deleted", "gone", or the status that forbids it."""
        keys = [self._key("batch", batch), self._own(tenant, "batches"), self._key("expired", batch)]
        return cast(str, self._forget(keys=keys, args=[batch, self._key("job", "")]))

    def _key(self, *parts: str) -> str:
        return self._prefix + ":".join(parts)

    def _own(self, tenant: str, *parts: str) -> str:
        return self._key(*parts) if tenant == DEFAULT_TENANT else self._key("tenant", tenant, *parts)

    def _read(self, batches: Iterable[str]) -> list[Batch]:
        pipe = self._redis.pipeline(transaction=True)
        for batch in batches:
            pipe.hgetall(self._key("batch", batch))
            pipe.smembers(self._key("batch", batch, "open"))
        found = pipe.execute()
        pairs = [(r, o) for r, o in zip(found[::2], found[1::2], strict=True) if r]
        work = self._measure([job for _, jobs in pairs for job in jobs])
        return [_read_batch(record, [work[job] for job in jobs]) for record, jobs in pairs]

    def _states(self, jobs: Iterable[str]) -> dict[str, str]:
        return {job: status for job, (status, _) in self._measure(jobs).items()}

    def _measure(self, jobs: Iterable[str]) -> dict[str, tuple[str, float]]:
        """The status of each job, and the share of its tokens that is run."""
        jobs = list(jobs)
        pipe = self._redis.pipeline(transaction=False)
        for job in jobs:
            pipe.hmget(self._key("job", job), "status", "tokens_done", "tokens_total")
            pipe.hvals(self._key("job", job, "running"))
        found = pipe.execute() if jobs else []
        return {
            job: (status or "cancelled", _share(done, total, running))
            for job, (status, done, total), running in zip(jobs, found[::2], found[1::2], strict=True)
        }


def _dump_problems(problems: Mapping[Any, Mapping[str, Any]]) -> str:
    return json.dumps({str(name): json.dumps(problem) for name, problem in problems.items()})


def _share(done: str | None, total: str | None, running: Iterable[str]) -> float:
    whole = int(total or 0)
    return min((int(done or 0) + sum(map(int, running))) / whole, 1.0) if whole else 0.0


def _read_batch(record: Mapping[str, str], open_jobs: Sequence[tuple[str, float]]) -> Batch:
    """open_jobs: of each that had not ended, what `_measure` gives."""
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
        webhook=read_delivery(json.loads(record["request"]), record),
    )
