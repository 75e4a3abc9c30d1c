-- join_lane(lane, job, head_start_s): puts a job with waiting units into a lane. Its account, and
-- its tenant's, is at least that of the one whose turn it was last, less the head start.
-- Include: ticks format_time keys tenant_of leave_lane
local function enter(group, member, hash, field, least)
  local own = tonumber(redis.call('HGET', hash, field))
  if not own or own < least then
    own = least
    redis.call('HSET', hash, field, format_time(own))
  end
  redis.call('ZADD', group, format_time(own), member)
end

local function join_lane(lane, job, head_start_s)
  local record, tenant = keys.job(job), tenant_of(job)
  local group, shares = keys.lane(lane), keys.shares(lane)
  local function least(clock)
    return (tonumber(redis.call('HGET', shares, clock)) or 0) - head_start_s
  end

  local old = redis.call('HGET', record, 'lane')
  if old and old ~= lane then leave_lane(old, tenant, job) end
  redis.call('HSET', record, 'lane', lane)
  redis.call('SADD', keys.lanes(), lane)
  if redis.call('EXISTS', group) == 0 then
    redis.call('HSET', shares, 'at', format_time(ticks))
  end
  enter(group, tenant, shares, 't:' .. tenant, least('clock'))
  enter(keys.lane_jobs(lane, tenant), job, record, 'served', least('c:' .. tenant))
end
