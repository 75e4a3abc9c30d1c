-- Says that a worker is there, for a while, and what it serves. Drops those that are gone.
-- Include: ticks keep_ticks format_time
-- KEYS:
--   workers  when each counts as gone
--   queues  what each serves
-- ARGV:
--   prefix  of all keys
--   worker  its name
--   ttl_s number  for how long
--   served  its queues, with commas between them
keep_ticks()
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', workers, '-inf', ticks)) do
  redis.call('ZREM', workers, gone)
  redis.call('HDEL', queues, gone)
end
redis.call('ZADD', workers, format_time(ticks + ttl_s), worker)
redis.call('HSET', queues, worker, served)
