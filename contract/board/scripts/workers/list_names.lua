-- The workers heard of lately.
-- Include: ticks
-- KEYS:
--   workers  when each counts as gone
-- ARGV:
--   prefix  of all keys
-- Returns: their names
return redis.call('ZRANGEBYSCORE', workers, ticks, '+inf')
