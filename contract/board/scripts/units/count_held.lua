-- How many units of a job a live worker holds.
-- Include: ticks
-- KEYS:
--   flight  its units that wait or run
--   leases  who runs them
-- ARGV:
--   prefix  of all keys
-- Returns: the number
local held = 0
for _, unit in ipairs(redis.call('HKEYS', leases)) do
  local deadline = redis.call('ZSCORE', flight, unit)
  if deadline and tonumber(deadline) > ticks then held = held + 1 end
end
return held
