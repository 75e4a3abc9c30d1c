-- Gives a worker the lease on the unit whose turn it is in the lanes of its queues. What it meets
-- that is no longer due it clears away, so it ends.
-- Include: now ticks keep_ticks format_time is_terminal keys grow charge leave_lane
-- KEYS:
--   taken  what a call with this token was given
-- ARGV:
--   prefix  of all keys
--   token  of the lease
--   lease_s number  until it is over, unless it is renewed
--   charge_s number  what a job is charged for a unit that begins
--   overdue_s number  a lane that was passed over for so long goes first, once
--   lanes...  in the order in which they are emptied
-- Returns: {job, unit, attempt, lane}, or nothing
local LIVE = ':live' -- how the lane of live checks ends, which come before what is overdue

local function begin(job, unit)
  local record = keys.job(job)
  local status = redis.call('HGET', record, 'status')
  if not status or is_terminal(status) or status == 'cancelling' then
    redis.call('DEL', keys.waiting(job))
    return nil
  end
  if redis.call('SISMEMBER', keys.done(job), unit) == 1 then return nil end
  redis.call('HSET', keys.leases(job), unit, token)
  redis.call('ZADD', keys.flight(job), format_time(ticks + lease_s), unit)
  if status == 'queued' then
    redis.call('HSET', record, 'status', 'running', 'started_at', format_time(now))
    grow(record)
  end
  return redis.call('HINCRBY', keys.attempts(job), unit, 1)
end

local function first(group)
  return unpack(redis.call('ZRANGE', group, 0, 0, 'WITHSCORES'))
end

local function raise(shares, clock, account)
  local old = tonumber(redis.call('HGET', shares, clock))
  if not old or tonumber(account) > old then redis.call('HSET', shares, clock, account) end
end

-- The first unit of a job that is due. A job without waiting units leaves the lane.
local function give_of(lane, tenant, job)
  local unit = redis.call('ZPOPMIN', keys.waiting(job))[1]
  local attempt = unit and begin(job, unit)
  if redis.call('EXISTS', keys.waiting(job)) == 0 then leave_lane(lane, tenant, job) end
  return attempt and {job, unit, attempt, lane}
end

local function give(lane)
  while true do
    local tenant, tenant_account = first(keys.lane(lane))
    if not tenant then return nil end
    local job, job_account = first(keys.lane_jobs(lane, tenant))
    local given = job and give_of(lane, tenant, job)
    if not job then
      redis.call('ZREM', keys.lane(lane), tenant)
    elseif given then
      local shares = keys.shares(lane)
      raise(shares, 'clock', tenant_account)
      raise(shares, 'c:' .. tenant, job_account)
      redis.call('HSET', shares, 'at', format_time(ticks))
      charge(job, charge_s)
      return given
    end
  end
end

-- A call whose answer was lost on the way is made again, with the same token.
local before = redis.call('GET', taken)
if before then return cjson.decode(before) end

local live, overdue, others = {}, {}, {}
for _, lane in ipairs(lanes) do
  if redis.call('EXISTS', keys.lane(lane)) == 1 then
    local at = tonumber(redis.call('HGET', keys.shares(lane), 'at')) or ticks
    local group = others
    if string.sub(lane, -#LIVE) == LIVE then
      group = live
    elseif ticks - at > overdue_s then
      group = overdue
    end
    group[#group + 1] = lane
  end
end
for _, group in ipairs({live, overdue, others}) do
  for _, lane in ipairs(group) do
    local given = give(lane)
    if given then
      keep_ticks()
      redis.call('SET', taken, cjson.encode(given), 'EX', math.ceil(lease_s))
      return given
    end
  end
end
return nil
