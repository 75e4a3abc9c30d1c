-- The ended jobs that are to be deleted. One that has expired is looked at twice, and by the
-- board's own clock there is as long between the two as it was to stay, or an hour: a clock that is
-- an hour ahead for a while deletes nothing.
-- Include: now ticks keys format_time
-- KEYS:
--   expiring  ended jobs that do not stay
--   expiring_seen  when each was first seen to have expired
-- ARGV:
--   prefix  of all keys
--   wait_most_s number  between the two looks
-- Returns: their ids
for _, job in ipairs(redis.call('HKEYS', expiring_seen)) do
  local over = redis.call('ZSCORE', expiring, job)
  if not over or tonumber(over) > now then redis.call('HDEL', expiring_seen, job) end
end

local function wait_s(job)
  local finished, over = unpack(redis.call('HMGET', keys.job(job), 'finished_at', 'expires_at'))
  if not finished or not over then return wait_most_s end
  return math.min(tonumber(over) - tonumber(finished), wait_most_s)
end

local found = {}
for _, job in ipairs(redis.call('ZRANGEBYSCORE', expiring, '-inf', now)) do
  local seen = redis.call('HGET', expiring_seen, job)
  if not seen then
    redis.call('HSET', expiring_seen, job, format_time(ticks))
  elseif ticks - tonumber(seen) >= wait_s(job) then
    found[#found + 1] = job
  end
end
return found
