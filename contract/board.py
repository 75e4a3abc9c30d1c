"""The board: the state of jobs, corpora and model cards in Redis. Everything here is atomic; nothing here decides.

A job is cut into units of work: "plan", "calibrate:<part>", "bands", "scan:<shard>", "background", "project:<n>",
"merge:<layer>" and "close".
A unit is *in flight* from the moment it begins to wait until it is finished or its deadline passes; a worker that runs
it moves the deadline on (the lease). A live check is a job of the one unit "activate", in a list of its own.
Deadlines use Redis' own clock, so workers' clocks do not matter.

Keys, under the prefix:
  job:<id>            hash: the record
  job:<id>:flight     zset: unit -> deadline
  job:<id>:leases     hash: unit -> token of the worker that runs it
  job:<id>:attempts   hash: unit -> times begun
  job:<id>:done       set of finished units
  job:<id>:running    hash: unit -> tokens done so far in it
  job:<id>:waiting, lane:<lane>, ...  which waiting unit is next: see `lanes`
  jobs, activations   zset by creation of all analyses, of all live checks
  active              zset by creation of those of both that are not terminal
  active:<tenant>     those of one tenant
  ended               hash: status -> jobs of both kinds that ended so, ever
  expiring            zset by the time at which they are deleted of ended jobs that do not stay
  expired:<id>        the tenant of a job that is gone because its time was over; remembered for a month
  doomed              zset by time of deleted jobs, "<tenant> <id>", whose files are being deleted
  idem:<key>          hash: job, digest
  workers             zset: worker -> when it counts as gone
  queues              hash: worker -> the queues it serves
  round               the worker that looks after all jobs now, or did so lately
  scans:<tenant>:<address>  zset by end of the jobs of one tenant that succeeded with a scan of this address
  corpus:<id>, corpora, model:<id>, models, secret
  webhooks, signing:<tenant>  see contract/webhooks.py
  batches, batch:<id>, ...  see contract/batches.py

`jobs`, `activations`, `idem`, `corpus` and `corpora` are those of the tenant "default"; another's are the same under
tenant:<tenant>:. What tenants may do is in `contract.accounts`.
"""

from __future__ import annotations

import json
import secrets
import socket
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis

from contract.accounts import Accounts
from contract.batches import END_IN_BATCH, GROW, Batches
from contract.connection import NOW, connect_redis
from contract.lanes import CHARGE, DEATH_S, DEFAULT_QUEUE, JOIN, PRIORITIES, TAKE, WAITING, lane_of, lanes_of, queue_of
from contract.opening import RECORD, REMEMBER, ROOM
from contract.records import (
    JOB_VERSION,
    REMEMBERED_S,
    TERMINAL,
    Corpus,
    Job,
    Kind,
    ModelCard,
    Phase,
    Progress,
    kind_of,
    new_job_id,
)
from contract.tenants import DEFAULT_TENANT, UNLIMITED, Quotas
from contract.webhooks import RECORD_EVENT, read_delivery

IDEMPOTENCY_S = 24 * 3600

_TERMINAL = "local function terminal(s) return s == 'succeeded' or s == 'failed' or s == 'cancelled' end\n"

# KEYS: job, jobs, active, idem, active:<tenant>; ARGV: id, request, idempotency digest ('' for none), ttl, max active,
# tenant, tokens, the tenant's max active, and max tokens (0 for no limit), origin, version
_OPEN = (
    NOW
    + REMEMBER
    + ROOM
    + RECORD
    + """
local submitted = find_submitted(KEYS[4], 'job', ARGV[3])
if submitted then return submitted end
-- A call whose answer was lost on the way is made again, with the same id.
if redis.call('EXISTS', KEYS[1]) == 1 then return {'opened', ARGV[1]} end
local prefix = string.sub(KEYS[1], 1, #KEYS[1] - #ARGV[1])
local admit = room(prefix, KEYS[3], KEYS[5], tonumber(ARGV[5]), tonumber(ARGV[8]), tonumber(ARGV[9]))
local verdict = admit(tonumber(ARGV[7]))
if verdict then return {verdict, ''} end
local lists, at = {KEYS[2], KEYS[3], KEYS[5]}, string.format('%.6f', now)
record_job(KEYS[1], lists, at, ARGV[1], ARGV[2], ARGV[6], ARGV[7], ARGV[10], ARGV[11])
remember_submitted(KEYS[4], 'job', ARGV[3], ARGV[1], ARGV[4])
return {'opened', ARGV[1]}
"""
)

# KEYS: job, flight, done, leases, waiting; ARGV: patience, room, prefix, lane, id, units...  Puts units in flight that
# are in no other state, to wait in the lane. A unit whose deadline has passed counts as absent. Returns those units.
_CLAIM = (
    NOW
    + _TERMINAL
    + f"local prefix, DEATH = ARGV[3], {DEATH_S}\n"
    + CHARGE
    + JOIN
    + """
local status = redis.call('HGET', KEYS[1], 'status')
if not status or terminal(status) or status == 'cancelling' then return {} end
for _, unit in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
  redis.call('ZREM', KEYS[2], unit)
  if redis.call('HDEL', KEYS[4], unit) == 1 then charge(ARGV[5], DEATH) end
end
local sent, room = {}, tonumber(ARGV[2]) - redis.call('ZCARD', KEYS[2])
for i = 6, #ARGV do
  if room <= 0 then break end
  if redis.call('SISMEMBER', KEYS[3], ARGV[i]) == 0 and not redis.call('ZSCORE', KEYS[2], ARGV[i]) then
    redis.call('ZADD', KEYS[2], string.format('%.6f', now + tonumber(ARGV[1])), ARGV[i])
    redis.call('ZADD', KEYS[5], i, ARGV[i])
    sent[#sent + 1] = ARGV[i]; room = room - 1
  end
end
if #sent > 0 then join(ARGV[4], ARGV[5]) end
return sent
"""
)

# KEYS: job, flight, leases, attempts, done; ARGV: unit, token, lease.  Returns {verdict, attempts}
_BEGIN = """
local status = redis.call('HGET', KEYS[1], 'status')
if not status or terminal(status) or status == 'cancelling' then return {'stale', 0} end
if redis.call('SISMEMBER', KEYS[5], ARGV[1]) == 1 then return {'done', 0} end
-- A call whose answer was lost on the way is made again, with the same token.
if redis.call('HGET', KEYS[3], ARGV[1]) == ARGV[2] then
  return {'begun', tonumber(redis.call('HGET', KEYS[4], ARGV[1]))}
end
local deadline = redis.call('ZSCORE', KEYS[2], ARGV[1])
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 and deadline and tonumber(deadline) > now then return {'taken', 0} end
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], string.format('%.6f', now + tonumber(ARGV[3])), ARGV[1])
if status == 'queued' then
  redis.call('HSET', KEYS[1], 'status', 'running', 'started_at', string.format('%.6f', now))
  grow(KEYS[1])
end
return {'begun', redis.call('HINCRBY', KEYS[4], ARGV[1], 1)}
"""
_BEGIN_ONE = NOW + _TERMINAL + GROW + _BEGIN
_BEGIN_NEXT = (
    NOW
    + _TERMINAL
    + GROW
    + f"local prefix = ARGV[1]\nlocal function begin(KEYS, ARGV)\n{_BEGIN}end\n"
    + CHARGE
    + JOIN
    + TAKE
)

# KEYS: job, flight, leases, running; ARGV: unit, token, lease, tokens ('' for none), prefix, id.  Returns the job's
# status, or 'lost' when the lease went to another worker. Charges the time since the deadline was last moved.
_RENEW = (
    NOW
    + "local prefix = ARGV[5]\n"
    + CHARGE
    + GROW
    + """
local status = redis.call('HGET', KEYS[1], 'status') or 'gone'
if redis.call('HGET', KEYS[3], ARGV[1]) ~= ARGV[2] then return 'lost' end
local lease = tonumber(ARGV[3])
local since = now + lease - (tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1])) or now + lease)
if since > 0 then charge(ARGV[6], math.min(since, lease)) end
redis.call('ZADD', KEYS[2], string.format('%.6f', now + lease), ARGV[1])
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[4], ARGV[1], ARGV[4]); grow(KEYS[1])
end
return status
"""
)

# KEYS: job, flight, leases, running, done; ARGV: unit, counter ('' for none), tokens, field, value, ...
_FINISH = (
    NOW
    + _TERMINAL
    + GROW
    + """
local status = redis.call('HGET', KEYS[1], 'status')
redis.call('ZREM', KEYS[2], ARGV[1]); redis.call('HDEL', KEYS[3], ARGV[1]); redis.call('HDEL', KEYS[4], ARGV[1])
if not status or terminal(status) then return 0 end
if redis.call('SADD', KEYS[5], ARGV[1]) == 0 then return 0 end
if ARGV[2] ~= '' then redis.call('HINCRBY', KEYS[1], ARGV[2], 1) end
redis.call('HINCRBY', KEYS[1], 'tokens_done', ARGV[3])
for i = 4, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1] == '@now' and string.format('%.6f', now) or ARGV[i + 1])
end
grow(KEYS[1])
return 1
"""
)

# KEYS: flight, leases, attempts; ARGV: unit, token, forget attempt.  Gives a unit back without finishing it.
_RELEASE = """
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[2], ARGV[1]); redis.call('ZREM', KEYS[1], ARGV[1])
if ARGV[3] == '1' then redis.call('HINCRBY', KEYS[3], ARGV[1], -1) end
return 1
"""

# KEYS: job, done; ARGV: unit, counter ('' for none), tokens.  What finish did, undone.
_REOPEN = (
    _TERMINAL
    + GROW
    + """
local status = redis.call('HGET', KEYS[1], 'status')
if not status or terminal(status) then return 0 end
if redis.call('SREM', KEYS[2], ARGV[1]) == 0 then return 0 end
if ARGV[2] ~= '' then redis.call('HINCRBY', KEYS[1], ARGV[2], -1) end
redis.call('HINCRBY', KEYS[1], 'tokens_done', -ARGV[3])
grow(KEYS[1])
return 1
"""
)

# KEYS: job; ARGV: text.  Not for a record that has been removed: it would come back as an empty one.
_NOTE = """
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'last_failure', ARGV[1]) end
"""

# KEYS: job; ARGV: phase
_PHASE = (
    NOW
    + _TERMINAL
    + GROW
    + """
local status, phase = unpack(redis.call('HMGET', KEYS[1], 'status', 'phase'))
if not status or terminal(status) or phase == ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'phase', ARGV[1], 'phase_began_at', string.format('%.6f', now)); grow(KEYS[1])
return 1
"""
)

# KEYS: job, active, flight, leases, attempts, done, running, waiting, ended, expiring, scans; ARGV: id, status, error,
# seconds it is kept (0: always)
_END = (
    NOW
    + _TERMINAL
    + GROW
    + """
local status = redis.call('HGET', KEYS[1], 'status')
if not status or terminal(status) then return 0 end
if ARGV[2] == 'succeeded' and status == 'cancelling' then return 0 end
redis.call('HSET', KEYS[1], 'status', ARGV[2], 'phase', 'ended', 'finished_at', string.format('%.6f', now))
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'error', ARGV[3]) end
grow(KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8])
redis.call('HINCRBY', KEYS[9], ARGV[2], 1)
local tenant = redis.call('HGET', KEYS[1], 'tenant') or 'default'
redis.call('ZREM', KEYS[2] .. ':' .. tenant, ARGV[1])
local address = redis.call('HGET', KEYS[1], 'scan_address')
if address and address ~= '' and ARGV[2] == 'succeeded' then
  redis.call('ZADD', KEYS[11] .. ':' .. tenant .. ':' .. address, string.format('%.6f', now), ARGV[1])
end
if tonumber(ARGV[4]) > 0 then
  local over = string.format('%.6f', now + tonumber(ARGV[4]))
  redis.call('HSET', KEYS[1], 'expires_at', over); redis.call('ZADD', KEYS[10], over, ARGV[1])
end
"""
    + RECORD_EVENT
    + END_IN_BATCH
    + "return 1"
)

# KEYS: job, flight, leases; ARGV: none.  Returns the status after it: 'cancelling' while a worker holds a unit.
_CANCEL = (
    NOW
    + _TERMINAL
    + GROW
    + """
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return 'gone' end
if terminal(status) or status == 'cancelling' then return status end
redis.call('HSET', KEYS[1], 'status', 'cancelling')
grow(KEYS[1])
return 'cancelling'
"""
)

# KEYS: flight, leases.  How many units a live worker holds.
_HELD = (
    NOW
    + """
local held = 0
for _, unit in ipairs(redis.call('HKEYS', KEYS[2])) do
  local deadline = redis.call('ZSCORE', KEYS[1], unit)
  if deadline and tonumber(deadline) > now then held = held + 1 end
end
return held
"""
)

# KEYS: job, flight, leases; ARGV: units...  The first that is not in flight.
_IDLE = (
    NOW
    + """
for _, unit in ipairs(ARGV) do
  local deadline = redis.call('ZSCORE', KEYS[2], unit)
  if not deadline or tonumber(deadline) <= now then return unit end
end
return nil
"""
)

# KEYS: workers, queues.  The queues of each worker heard of lately.
_SERVED = (
    NOW
    + """
local workers = redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf')
return #workers > 0 and redis.call('HMGET', KEYS[2], unpack(workers)) or {}
"""
)

# KEYS: round; ARGV: worker, milliseconds.  The holder of the round lets it go so much later.
_REST = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
"""

# KEYS: job, jobs, expiring, doomed, expired, scans; ARGV: id, tenant, seconds that its expiry is remembered (0: not at
# all)
_FORGET = (
    NOW
    + _TERMINAL
    + """
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return 'gone' end
if not terminal(status) then return status end
local address = redis.call('HGET', KEYS[1], 'scan_address')
if address then redis.call('ZREM', KEYS[6] .. ':' .. ARGV[2] .. ':' .. address, ARGV[1]) end
redis.call('DEL', KEYS[1]); redis.call('ZREM', KEYS[2], ARGV[1]); redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[4], string.format('%.6f', now), ARGV[2] .. ' ' .. ARGV[1])
if tonumber(ARGV[3]) > 0 then redis.call('SET', KEYS[5], ARGV[2], 'EX', ARGV[3]) end
return 'deleted'
"""
)


@dataclass(frozen=True)
class Opened:
    verdict: str  # opened, replayed, mismatch; full: the board; jobs, tokens: a quota of the tenant's is used up
    job: str


@dataclass(frozen=True)
class Lease:
    """A worker's hold on one unit of one job."""

    job: str
    unit: str
    token: str
    attempt: int  # 1 the first time
    queue: str = DEFAULT_QUEUE  # where it waited


@dataclass(frozen=True)
class SurveyedJob:
    """An active job, and its units in flight."""

    status: str
    created_at: float  # by Redis' clock, like all times here
    deadlines: Mapping[str, float]  # by unit
    leased: frozenset[str]  # units begun by a worker, dead or alive


@dataclass(frozen=True)
class Survey:
    now: float
    jobs: tuple[SurveyedJob, ...]
    ended: Mapping[str, int]  # jobs by status, ever


class Board:
    """Thread-safe, as the redis client is. Library errors (`redis.RedisError`) pass through to the edge."""

    def __init__(self, client: redis.Redis, prefix: str = "polyseme:") -> None:
        self._redis = client
        self._prefix = prefix
        self.accounts = Accounts(client, prefix)
        self.batches = Batches(client, prefix)
        self._scripts = {
            name: client.register_script(text)
            for name, text in {
                "open": _OPEN,
                "claim": _CLAIM,
                "begin": _BEGIN_ONE,
                "take": _BEGIN_NEXT,
                "waiting": WAITING,
                "rest": _REST,
                "served": _SERVED,
                "renew": _RENEW,
                "finish": _FINISH,
                "release": _RELEASE,
                "reopen": _REOPEN,
                "note": _NOTE,
                "phase": _PHASE,
                "end": _END,
                "cancel": _CANCEL,
                "held": _HELD,
                "forget": _FORGET,
                "idle": _IDLE,
            }.items()
        }

    @classmethod
    def connect(cls, url: str, prefix: str = "polyseme:") -> Board:
        return cls(connect_redis(url), prefix)

    def ping(self) -> bool:
        return bool(self._redis.ping())

    def _key(self, *parts: str) -> str:
        return self._prefix + ":".join(parts)

    def _run(self, name: str, keys: Iterable[str], *args: Any) -> Any:
        return self._scripts[name](keys=list(keys), args=list(args))

    def _of(self, job: str, *names: str) -> list[str]:
        return [self._key("job", job, *([n] if n else [])) for n in names]

    def _own(self, tenant: str, *parts: str) -> str:
        """A key of one tenant's."""
        return self._key(*parts) if tenant == DEFAULT_TENANT else self._key("tenant", tenant, *parts)

    # Jobs, from the API's side

    def open_job(
        self,
        request: Mapping[str, Any],
        *,
        kind: Kind = "analysis",
        tenant: str = DEFAULT_TENANT,
        tokens: int = 0,
        idempotency: tuple[str, str] | None = None,
        max_active: int = 1000,
        quotas: Quotas = UNLIMITED,
        origin: Mapping[str, str] = {},
    ) -> Opened:
        """Records a queued job, once for one idempotency key of its tenant's.

        tokens: what it will run, as far as is known. idempotency: the key, and a digest of the request.
        """
        job = new_job_id(kind)
        key, digest = idempotency or ("", "")
        keys = [*self._of(job, ""), self._list_of(job, tenant), self._key("active")]
        keys += [self._own(tenant, "idem", key), self._key("active", tenant)]
        limits = (max_active, tenant, tokens, quotas.active_jobs, quotas.queued_tokens)
        known = (json.dumps(request), digest, IDEMPOTENCY_S)
        verdict, found = self._run("open", keys, job, *known, *limits, json.dumps(origin), JOB_VERSION)
        return Opened(verdict, found)

    def _list_of(self, job: str, tenant: str) -> str:
        return self._own(tenant, "jobs" if kind_of(job) == "analysis" else "activations")

    def find_submitted(self, key: str, tenant: str = DEFAULT_TENANT) -> tuple[str, str] | None:
        """The job that an idempotency key opened, and the digest of its request."""
        job, digest = cast(list[str | None], self._redis.hmget(self._own(tenant, "idem", key), "job", "digest"))
        return (job, digest) if job and digest else None

    def get_job(self, job: str) -> Job | None:
        return next(iter(self.get_jobs([job])), None)

    def get_jobs(self, jobs: Iterable[str]) -> list[Job]:
        """Those of the jobs that are there, in one round trip."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.time()
        for job in jobs:
            record, running = self._of(job, "", "running")
            pipe.hgetall(record)
            pipe.hvals(running)
        (seconds, micros), *found = pipe.execute()
        pairs = zip(found[::2], found[1::2], strict=True)
        return [_read_job(record, running, seconds + micros / 1e6) for record, running in pairs if record]

    def list_jobs(
        self, *, before: tuple[float, str] | None = None, count: int = 200, tenant: str = DEFAULT_TENANT
    ) -> list[Job]:
        """A tenant's analyses newest first, older than `before` (created_at, id)."""
        top = f"{before[0]:.6f}" if before else "+inf"
        names = cast(
            list[tuple[str, float]],
            self._redis.zrange(
                self._own(tenant, "jobs"),
                top,
                "-inf",
                byscore=True,
                desc=True,
                offset=0,
                num=count + 1,
                withscores=True,
            ),
        )
        ids = [name for name, score in names if before is None or (score, name) < before][:count]
        return self.get_jobs(ids)

    def count_active(self) -> int:
        return int(self._redis.zcard(self._key("active")))

    def read_tag(self, job: str, tenant: str = DEFAULT_TENANT) -> tuple[int, str] | None:
        """The revision and status of a tenant's job, for a fraction of what reading it costs.

        None when there is no such job, and for one that expires, which only its record tells.
        """
        names = ("revision", "status", "tenant", "expires_at")
        found = cast(list[str | None], self._redis.hmget(self._key("job", job), *names))
        revision, status, owner, expires_at = found
        known = revision and status and owner == tenant and expires_at is None
        return (int(revision or 0), status or "") if known else None

    def survey(self) -> Survey:
        """What waits and what runs, for dashboards. A unit may change its state between two reads."""
        active = self.active_jobs()
        pipe = self._redis.pipeline(transaction=False)
        pipe.time()
        pipe.hgetall(self._key("ended"))
        for job in active:
            record, flight, leases = self._of(job, "", "flight", "leases")
            pipe.hmget(record, "status", "created_at")
            pipe.zrange(flight, 0, -1, withscores=True)
            pipe.hkeys(leases)
        (seconds, micros), ended, *found = pipe.execute()
        rows = zip(found[::3], found[1::3], found[2::3], strict=True)
        jobs = tuple(
            SurveyedJob(status, float(created), dict(flight), frozenset(leases))
            for (status, created), flight, leases in rows
            if status
        )
        return Survey(seconds + micros / 1e6, jobs, {status: int(n) for status, n in ended.items()})

    def cancel(self, job: str) -> str:
        """Asks for the job's end. Returns its status afterwards, or "gone"."""
        return cast(str, self._run("cancel", self._of(job, "", "flight", "leases")))

    def forget(self, job: str, tenant: str = DEFAULT_TENANT, *, has_expired: bool = False) -> str:
        """Removes the record of a terminal job: "deleted", "gone", or the status that forbids it.

        Its files are to be deleted after that, and then `bury` be called. An expired one is remembered as such.
        """
        keys = [*self._of(job, ""), self._list_of(job, tenant), self._key("expiring"), self._key("doomed")]
        remembered_s = REMEMBERED_S if has_expired else 0
        keys += [self._key("expired", job), self._key("scans")]
        return cast(str, self._run("forget", keys, job, tenant, remembered_s))

    def bury(self, job: str, tenant: str = DEFAULT_TENANT) -> None:
        """Notes that the files of a forgotten job are deleted."""
        self._redis.zrem(self._key("doomed"), f"{tenant} {job}")

    def list_doomed(self, *, for_s: float) -> list[tuple[str, str]]:
        """Tenant and id of the jobs that were forgotten at least so long ago and not buried."""
        found = cast(list[str], self._redis.zrange(self._key("doomed"), "-inf", self._now() - for_s, byscore=True))
        return [(tenant, job) for tenant, _, job in (name.partition(" ") for name in found)]

    def list_expired(self) -> list[str]:
        """The ended jobs whose time is over and whose record is still there."""
        return cast(list[str], self._redis.zrange(self._key("expiring"), "-inf", self._now(), byscore=True))

    def expired_tenant(self, job: str) -> str | None:
        """Whose an expired and forgotten job was; None for one that never was, or was deleted otherwise."""
        return cast(str | None, self._redis.get(self._key("expired", job)))

    # Jobs, from the workers' side

    def active_jobs(self) -> list[str]:
        return cast(list[str], self._redis.zrange(self._key("active"), 0, -1))

    def done_units(self, job: str) -> set[str]:
        return cast(set[str], self._redis.smembers(self._of(job, "done")[0]))

    def set_phase(self, job: str, phase: Phase) -> None:
        self._run("phase", self._of(job, ""), phase)

    def claim_units(
        self,
        job: str,
        units: Iterable[str],
        *,
        room: int,
        patience_s: float,
        queue: str = DEFAULT_QUEUE,
        priority: str = "normal",
    ) -> list[str]:
        """Of `units`, in their order, those now put in flight, to wait for a worker; at most `room` are in flight.

        The caller sends a ticket for each. priority: one of lanes.PRIORITIES.
        """
        keys = self._of(job, "", "flight", "done", "leases", "waiting")
        lane = lane_of(queue, priority)
        return cast(list[str], self._run("claim", keys, patience_s, room, self._prefix, lane, job, *units))

    def claim_firsts(self, jobs: Iterable[tuple[str, str, str]], unit: str, *, patience_s: float) -> Counter[str]:
        """Puts the first unit of many new jobs in flight, in one round trip: how many now wait, by queue.

        jobs: id, queue and priority of each.
        """
        jobs = list(jobs)
        pipe = self._redis.pipeline(transaction=False)
        for job, queue, priority in jobs:
            keys = self._of(job, "", "flight", "done", "leases", "waiting")
            self._scripts["claim"](
                keys, [patience_s, 1, self._prefix, lane_of(queue, priority), job, unit], client=pipe
            )
        claimed = pipe.execute() if jobs else []
        return Counter(queue for (_, queue, _), units in zip(jobs, claimed, strict=True) if units)

    def take_unit(self, queues: Sequence[str], *, lease_s: float, token: str | None = None) -> Lease | None:
        """Takes the lease on the unit whose turn it is in these queues; None when none waits there.

        With the same token a call may be repeated and takes one.
        """
        token = token or secrets.token_hex(8)
        found = self._run("take", [], self._prefix, token, lease_s, *lanes_of(queues))
        if found is None:
            return None
        job, unit, attempt, lane = found
        return Lease(job, unit, token, attempt, queue_of(lane))

    def waiting_units(self) -> dict[tuple[str, str], int]:
        """How many units wait in each queue with each priority; those of every queue that was ever used."""
        flat = self._run("waiting", [], self._prefix)
        lanes = dict(zip(flat[::2], flat[1::2], strict=True))
        queues = {queue_of(lane) for lane in lanes}
        return {(q, p): lanes.get(lane_of(q, p), 0) for q in sorted(queues) for p in PRIORITIES}

    def begin_unit(self, job: str, unit: str, *, lease_s: float, token: str | None = None) -> Lease | None:
        """Takes the lease on a unit; None when it is done, held by a live worker, or its job is over.

        With the same token a call may be repeated and counts once.
        """
        token = token or secrets.token_hex(8)
        keys = self._of(job, "", "flight", "leases", "attempts", "done")
        verdict, attempt = self._run("begin", keys, unit, token, lease_s)
        return Lease(job, unit, token, attempt) if verdict == "begun" else None

    def renew(self, lease: Lease, *, lease_s: float, tokens: int | None = None) -> str:
        """Moves the deadline on and notes the tokens done in the unit. Returns the job's status, or "lost"."""
        keys = self._of(lease.job, "", "flight", "leases", "running")
        done = "" if tokens is None else tokens
        found = self._run("renew", keys, lease.unit, lease.token, lease_s, done, self._prefix, lease.job)
        return cast(str, found)

    def finish_unit(
        self, job: str, unit: str, *, counter: str = "", tokens: int = 0, fields: Mapping[str, str | int | float] = {}
    ) -> bool:
        """Marks a unit done and counts it, once however often it is called.

        `counter` names the field that counts such units; `fields` go into the job's record, "@now" as the time.
        """
        flat = [x for pair in fields.items() for x in pair]
        keys = self._of(job, "", "flight", "leases", "running", "done")
        return bool(self._run("finish", keys, unit, counter, tokens, *flat))

    def release_unit(self, lease: Lease, *, forget_attempt: bool = False) -> None:
        """Gives a unit back, to be sent again at once."""
        keys = self._of(lease.job, "flight", "leases", "attempts")
        self._run("release", keys, lease.unit, lease.token, int(forget_attempt))

    def attempts(self, job: str) -> dict[str, int]:
        found = cast(dict[str, str], self._redis.hgetall(self._of(job, "attempts")[0]))
        return {unit: int(n) for unit, n in found.items()}

    def first_idle(self, job: str, units: Sequence[str]) -> str | None:
        """The first of the units that is neither queued nor run by a live worker."""
        keys = self._of(job, "", "flight", "leases")
        return cast(str | None, self._run("idle", keys, *units))

    def note_failure(self, job: str, unit: str, why: str) -> None:
        """Keeps why an attempt failed, for the job's error should it be the last."""
        self._run("note", self._of(job, ""), f"{unit}: {why}"[:2000])

    def reopen_unit(self, job: str, unit: str, *, counter: str = "", tokens: int = 0) -> bool:
        """Takes a finished unit back, since what it wrote is no longer of use. Its attempts still count."""
        return bool(self._run("reopen", self._of(job, "", "done"), unit, counter, tokens))

    def last_failure(self, job: str) -> str | None:
        return cast(str | None, self._redis.hget(self._of(job, "")[0], "last_failure"))

    def units_held(self, job: str) -> int:
        return cast(int, self._run("held", self._of(job, "flight", "leases")))

    def end_job(self, job: str, status: str, error: Mapping[str, str] | None = None, *, keep_s: float = 0.0) -> bool:
        """Moves a job to a terminal status, once. A job being cancelled cannot succeed any more.

        keep_s: until it expires; 0 keeps it.
        """
        names = self._of(job, "", "flight", "leases", "attempts", "done", "running", "waiting")
        keys = [names[0], self._key("active"), *names[1:]]
        keys += [self._key("ended"), self._key("expiring"), self._key("scans")]
        return bool(self._run("end", keys, job, status, json.dumps(error) if error else "", keep_s))

    def list_scans(self, address: str, tenant: str = DEFAULT_TENANT, *, count: int = 200) -> list[str]:
        """The tenant's jobs that succeeded with a scan of this address, the newest of them, last ended first.

        A job has its address from the field `scan_address` of its record.
        """
        return cast(list[str], self._redis.zrevrange(self._key("scans", tenant, address), 0, count - 1))

    # Corpora, models, workers

    def add_corpus(self, corpus: Corpus, tenant: str = DEFAULT_TENANT) -> Corpus:
        """Registers a tenant's corpus, or returns the one that has the id already."""
        if self._redis.set(self._own(tenant, "corpus", corpus.id), corpus.to_json(), nx=True):
            self._redis.zadd(self._own(tenant, "corpora"), {corpus.id: corpus.created_at})
            return corpus
        return self.get_corpus(corpus.id, tenant) or corpus

    def get_corpus(self, corpus: str, tenant: str = DEFAULT_TENANT) -> Corpus | None:
        text = cast(str | None, self._redis.get(self._own(tenant, "corpus", corpus)))
        return Corpus.from_json(text) if text else None

    def list_corpora(self, tenant: str = DEFAULT_TENANT) -> list[Corpus]:
        ids = cast(list[str], self._redis.zrange(self._own(tenant, "corpora"), 0, -1, desc=True))
        return [c for c in (self.get_corpus(name, tenant) for name in ids) if c]

    def delete_corpus(self, corpus: str, tenant: str = DEFAULT_TENANT) -> bool:
        self._redis.zrem(self._own(tenant, "corpora"), corpus)
        return bool(self._redis.delete(self._own(tenant, "corpus", corpus)))

    def put_card(self, card: ModelCard) -> None:
        self._redis.hset(self._key("models"), card.id, card.to_json())

    def get_card(self, model: str) -> ModelCard | None:
        text = cast(str | None, self._redis.hget(self._key("models"), model))
        return ModelCard.from_json(text) if text else None

    def list_cards(self) -> list[ModelCard]:
        found = cast(dict[str, str], self._redis.hgetall(self._key("models")))
        return [ModelCard.from_json(text) for _, text in sorted(found.items())]

    def _now(self) -> float:
        """Seconds since the epoch by Redis' clock."""
        seconds, micros = self._redis.time()
        return float(seconds + micros / 1e6)

    def announce_worker(self, worker: str, *, ttl_s: float, queues: Sequence[str] = (DEFAULT_QUEUE,)) -> None:
        now = self._now()
        silent = cast(list[str], self._redis.zrange(self._key("workers"), "-inf", now, byscore=True))
        pipe = self._redis.pipeline()
        if silent:
            pipe.zrem(self._key("workers"), *silent)
            pipe.hdel(self._key("queues"), *silent)
        pipe.zadd(self._key("workers"), {worker: now + ttl_s})
        pipe.hset(self._key("queues"), worker, ",".join(queues))
        pipe.execute()

    def count_servers(self) -> dict[str, int]:
        """How many of the workers heard of lately serve each queue; queues that none serves are left out."""
        served = self._run("served", [self._key("workers"), self._key("queues")])
        return dict(Counter(queue for queues in served for queue in (queues or DEFAULT_QUEUE).split(",")))

    def begin_round(self, worker: str, *, most_s: float) -> bool:
        """Whether this worker is to look after all jobs now: one does at a time. Another may after `most_s`."""
        return bool(self._redis.set(self._key("round"), worker, nx=True, px=round(1000 * most_s)))

    def end_round(self, worker: str, *, rest_s: float) -> None:
        """Lets the next round begin, of any worker, in `rest_s` seconds."""
        self._run("rest", [self._key("round")], worker, max(round(1000 * rest_s), 1))

    def count_workers(self) -> int:
        return int(self._redis.zcount(self._key("workers"), self._now(), "+inf"))

    def list_workers(self) -> list[str]:
        """The names of the workers heard of lately."""
        return cast(list[str], self._redis.zrange(self._key("workers"), self._now(), "+inf", byscore=True))

    def list_lengths(self, keys: Mapping[str, str]) -> dict[str, int]:
        """The length of the Redis list under each of the keys, which carry no prefix."""
        pipe = self._redis.pipeline(transaction=False)
        for key in keys.values():
            pipe.llen(key)
        return dict(zip(keys, pipe.execute(), strict=True))

    def secret(self) -> str:
        """One secret for all API processes of this board, made by the first that asks: it signs cursors."""
        self._redis.set(self._key("secret"), secrets.token_hex(32), nx=True)
        return cast(str, self._redis.get(self._key("secret")))


def worker_name(pid: int) -> str:
    """What a worker process of this machine is called on the board."""
    return f"{socket.gethostname()}:{pid}"


def _read_job(record: Mapping[str, str], running: Iterable[str], now: float) -> Job:
    def number(name: str) -> float | None:
        return float(record[name]) if name in record else None

    def count(name: str) -> int | None:
        return int(record[name]) if name in record else None

    done = int(record["tokens_done"]) + sum(map(int, running))
    began = number("scan_began_at")
    ended = now if record["phase"] == "scanning" else number("scan_ended_at")
    elapsed = ended - began if began and ended else 0.0
    phase_began = None if record["status"] in TERMINAL else number("phase_began_at")
    request = json.loads(record["request"])
    return Job(
        id=record["id"],
        status=cast(Any, record["status"]),
        phase=cast(Any, record["phase"]),
        revision=int(record["revision"]),
        request=request,
        created_at=float(record["created_at"]),
        started_at=number("started_at"),
        finished_at=number("finished_at"),
        progress=Progress(
            shards_done=int(record["shards_done"]),
            shards_total=count("shards_total"),
            layers_done=int(record["layers_done"]),
            layers_total=count("layers_total"),
            tokens_done=done,
            tokens_total=count("tokens_total"),
            tokens_per_second=done / elapsed if done and elapsed > 0 else None,
            phase_s=now - phase_began if phase_began else None,
        ),
        error=json.loads(record["error"]) if "error" in record else None,
        queue=queue_of(record["lane"]) if "lane" in record else DEFAULT_QUEUE,
        origin=json.loads(record.get("origin", "{}")),
        webhook=read_delivery(request, record),
        tenant=record.get("tenant", DEFAULT_TENANT),
        expires_at=(expires_at := number("expires_at")),
        has_expired=expires_at is not None and expires_at <= now,
        version=int(record.get("version", 1)),
        batch=record.get("batch"),
        calibration_parts=int(record.get("calibration_parts", 0)),
        scan_address=record.get("scan_address", ""),
        reused={job: tuple(layers) for job, layers in json.loads(record.get("reused", "{}")).items()},
    )
