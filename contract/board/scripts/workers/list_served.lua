-- The queues of the workers heard of lately.
-- Include: ticks
-- KEYS:
--   workers  when each counts as gone
--   queues  what each serves
-- ARGV:
--   prefix  of all keys
-- Returns: of each worker its queues, as it wrote them
local alive = redis.call('ZRANGEBYSCORE', workers, ticks, '+inf')
return #alive > 0 and redis.call('HMGET', queues, unpack(alive)) or {}
