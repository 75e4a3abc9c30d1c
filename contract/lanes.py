"""Whose turn it is: the order in which waiting units are given to workers. Text of Lua scripts, for the board to run.

A *lane* is what waits in one queue with one priority: "default:normal". Workers empty the lanes of their queues in the
order of PRIORITIES. Within a lane the tenant goes first that has had the least of the workers' time, divided by its
weight; within a tenant the job that has had least. Who comes (back) starts HEAD_START_S behind the one whose turn it
was last: it cannot save up a right to more, and what is short ends before it has to share.
A lane that was passed over for OVERDUE_S goes once before the others, live checks excepted.

Keys, under the board's prefix:
  lane:<lane>           zset: tenant -> account, of the tenants with waiting units
  lane:<lane>:<tenant>  zset: job -> account, of its jobs with waiting units
  shares:<lane>         hash: t:<tenant> account, clock highest account that had a turn, c:<tenant> the same for its
                        jobs, at when the lane last gave a unit, or became one that could
  job:<id>:waiting      zset: unit -> place
  job:<id>              hash, of which tenant, lane, served (the job's account)
  tenant:<id>           hash, of which weight
  lanes                 set of all lanes that ever were
  taken:<token>         what a call with this token was given, for as long as its lease: its answer may have been lost
An account is in seconds of one worker, divided by the weight for a tenant. It is charged CHARGE_S when a unit is begun
and the time since then as its lease is renewed, so a unit that dies costs what it used; and DEATH_S when its lease
runs out, about what it takes to start a worker anew. So what kills each worker that touches it comes after the others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

DEFAULT_QUEUE = "default"
QUEUE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")

Priority = Literal["live", "high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = ("live", "high", "normal", "low")  # live: checks of a text, while somebody waits

HEAD_START_S = 120.0
OVERDUE_S = 300.0
CHARGE_S = 1.0
DEATH_S = 60.0


def lane_of(queue: str, priority: str) -> str:
    return f"{queue}:{priority}"


def queue_of(lane: str) -> str:
    return lane.rpartition(":")[0]


def parse_queues(text: str) -> tuple[str, ...]:
    """The queues in "default,big". Raises ValueError for a name that is none, and when there is none."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if wrong := [n for n in names if not QUEUE_NAME.fullmatch(n)]:
        raise ValueError(f"queues {text!r}: {wrong[0]!r} must match {QUEUE_NAME.pattern}")
    return names


def lanes_of(queues: Sequence[str]) -> list[str]:
    """In the order in which they are emptied."""
    return [lane_of(queue, priority) for priority in PRIORITIES for queue in queues]


# Each needs `now` and `prefix`. A job's account lies in its record, so it goes with the job.
_NAMES = """
local function record_of(job) return prefix .. 'job:' .. job end
local function tenant_of(job) return redis.call('HGET', record_of(job), 'tenant') or 'default' end
"""

# charge(job, seconds): the time of one worker that a job has used.
CHARGE = (
    _NAMES
    + """
local function charge(job, seconds)
  local lane, tenant = redis.call('HGET', record_of(job), 'lane'), tenant_of(job)
  if not lane then return end
  local weight = tonumber(redis.call('HGET', prefix .. 'tenant:' .. tenant, 'weight')) or 1
  if weight <= 0 then weight = 1 end
  local key = prefix .. 'lane:' .. lane
  local all = redis.call('HINCRBYFLOAT', prefix .. 'shares:' .. lane, 't:' .. tenant, seconds / weight)
  local own = redis.call('HINCRBYFLOAT', record_of(job), 'served', seconds)
  redis.call('ZADD', key, 'XX', all, tenant)
  redis.call('ZADD', key .. ':' .. tenant, 'XX', own, job)
end
"""
)

# leave(lane, tenant, job): a job that has no more waiting units there.  join(lane, job): one that has.
JOIN = (
    _NAMES
    + f"local HEAD_START = {HEAD_START_S}\n"
    + """
local function leave(lane, tenant, job)
  local key = prefix .. 'lane:' .. lane
  redis.call('ZREM', key .. ':' .. tenant, job)
  if redis.call('EXISTS', key .. ':' .. tenant) == 0 then redis.call('ZREM', key, tenant) end
end
local function enter(group, member, shares, clock, hash, field)
  local own = tonumber(redis.call('HGET', hash, field))
  local least = (tonumber(redis.call('HGET', shares, clock)) or 0) - HEAD_START
  if not own or own < least then own = least; redis.call('HSET', hash, field, string.format('%.6f', own)) end
  redis.call('ZADD', group, string.format('%.6f', own), member)
end
local function join(lane, job)
  local key, shares, tenant = prefix .. 'lane:' .. lane, prefix .. 'shares:' .. lane, tenant_of(job)
  local old = redis.call('HGET', record_of(job), 'lane')
  if old and old ~= lane then leave(old, tenant, job) end
  redis.call('HSET', record_of(job), 'lane', lane)
  redis.call('SADD', prefix .. 'lanes', lane)
  if redis.call('EXISTS', key) == 0 then redis.call('HSET', shares, 'at', string.format('%.6f', now)) end
  enter(key, tenant, shares, 'clock', shares, 't:' .. tenant)
  enter(key .. ':' .. tenant, job, shares, 'c:' .. tenant, record_of(job), 'served')
end
"""
)

# ARGV: prefix, token, lease, lanes in their order.  Needs begin(KEYS, ARGV).  Returns {job, unit, attempts, lane}, or
# nothing. Whatever it meets that is no longer due it clears away, so it ends.
TAKE = (
    f"local OVERDUE, CHARGE, LIVE = {OVERDUE_S}, {CHARGE_S}, ':live'\n"
    + """
local function raise(shares, clock, account)
  local old = tonumber(redis.call('HGET', shares, clock))
  if not old or account > old then redis.call('HSET', shares, clock, account) end
end
local function first(group) return unpack(redis.call('ZRANGE', group, 0, 0, 'WITHSCORES')) end
local taken = prefix .. 'taken:' .. ARGV[2]
local function give(lane)
  local key, shares = prefix .. 'lane:' .. lane, prefix .. 'shares:' .. lane
  while true do
    local tenant, all = first(key)
    if not tenant then return nil end
    local job, own = first(key .. ':' .. tenant)
    if not job then
      redis.call('ZREM', key, tenant)
    else
      local record = record_of(job)
      local unit = redis.call('ZPOPMIN', record .. ':waiting')[1]
      local verdict = unit and begin(
        {record, record .. ':flight', record .. ':leases', record .. ':attempts', record .. ':done'},
        {unit, ARGV[2], ARGV[3]})
      if verdict and verdict[1] == 'stale' then redis.call('DEL', record .. ':waiting') end
      if redis.call('EXISTS', record .. ':waiting') == 0 then leave(lane, tenant, job) end
      if verdict and verdict[1] == 'begun' then
        raise(shares, 'clock', tonumber(all)); raise(shares, 'c:' .. tenant, tonumber(own))
        redis.call('HSET', shares, 'at', string.format('%.6f', now))
        charge(job, CHARGE)
        redis.call('SET', taken, cjson.encode({job, unit, verdict[2], lane}), 'EX', math.ceil(ARGV[3]))
        return {job, unit, verdict[2], lane}
      end
    end
  end
end
local before = redis.call('GET', taken)
if before then return cjson.decode(before) end
local live, overdue, others = {}, {}, {}
for i = 4, #ARGV do
  local lane = ARGV[i]
  if redis.call('EXISTS', prefix .. 'lane:' .. lane) == 1 then
    local at = tonumber(redis.call('HGET', prefix .. 'shares:' .. lane, 'at')) or now
    local group = string.sub(lane, -#LIVE) == LIVE and live or now - at > OVERDUE and overdue or others
    group[#group + 1] = lane
  end
end
for _, group in ipairs({live, overdue, others}) do
  for _, lane in ipairs(group) do
    local found = give(lane)
    if found then return found end
  end
end
return nil
"""
)

# ARGV: prefix.  Returns lane, units waiting in it, next lane, ...
WAITING = """
local prefix, found = ARGV[1], {}
for _, lane in ipairs(redis.call('SMEMBERS', prefix .. 'lanes')) do
  local key, units = prefix .. 'lane:' .. lane, 0
  for _, tenant in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    for _, job in ipairs(redis.call('ZRANGE', key .. ':' .. tenant, 0, -1)) do
      units = units + redis.call('ZCARD', prefix .. 'job:' .. job .. ':waiting')
    end
  end
  found[#found + 1] = lane; found[#found + 1] = units
end
return found
"""
