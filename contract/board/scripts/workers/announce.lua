-- Says that a worker is there, for a while, and what it serves. Drops those that are gone.
-- Include: ticks keep_ticks format_time
-- KEYS:
--   workers  when each counts as gone
--   queues  what each serves
--   encoders  those that have a sentence encoder
-- ARGV:
--   prefix  of all keys
--   worker  its name
--   ttl_s number  for how long
--   served  its queues, with commas between them
--   has_encoder number  1, or 0
keep_ticks()
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', workers, '-inf', ticks)) do
  redis.call('ZREM', workers, gone)
  redis.call('HDEL', queues, gone)
  redis.call('SREM', encoders, gone)
end
redis.call('ZADD', workers, format_time(ticks + ttl_s), worker)
redis.call('HSET', queues, worker, served)
redis.call(has_encoder == 1 and 'SADD' or 'SREM', encoders, worker)
