-- leave_lane(lane, tenant, job): takes a job out of a lane where none of its units waits any more.
-- Include: keys
local function leave_lane(lane, tenant, job)
  redis.call('ZREM', keys.lane_jobs(lane, tenant), job)
  if redis.call('EXISTS', keys.lane_jobs(lane, tenant)) == 0 then
    redis.call('ZREM', keys.lane(lane), tenant)
  end
end
