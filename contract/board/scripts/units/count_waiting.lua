-- How many units wait in each lane.
-- Include: keys
-- ARGV:
--   prefix  of all keys
-- Returns: lane, units waiting in it, next lane, ...
local counts = {}
for _, lane in ipairs(redis.call('SMEMBERS', keys.lanes())) do
  local units = 0
  for _, tenant in ipairs(redis.call('ZRANGE', keys.lane(lane), 0, -1)) do
    for _, job in ipairs(redis.call('ZRANGE', keys.lane_jobs(lane, tenant), 0, -1)) do
      units = units + redis.call('ZCARD', keys.waiting(job))
    end
  end
  counts[#counts + 1] = lane
  counts[#counts + 1] = units
end
return counts
