-- The first of some units of a job that is neither queued nor run by a live worker.
-- Include: ticks
-- KEYS:
--   flight  its units that wait or run
-- ARGV:
--   prefix  of all keys
--   units...  in their order
-- Returns: the unit, or nothing
for _, unit in ipairs(units) do
  local deadline = redis.call('ZSCORE', flight, unit)
  if not deadline or tonumber(deadline) <= ticks then return unit end
end
return nil
