-- Has a worker look after all jobs, unless one does, or did lately.
-- Include: ticks keep_ticks format_time
-- KEYS:
--   leadership  who does, and until when
-- ARGV:
--   prefix  of all keys
--   worker  who asks
--   most_s number  until another may, at the latest
-- Returns: 1, or 0 when another does
local old = redis.call('HGET', leadership, 'until')
if old and tonumber(old) > ticks then return 0 end
keep_ticks()
redis.call('HSET', leadership, 'worker', worker, 'until', format_time(ticks + most_s))
return 1
