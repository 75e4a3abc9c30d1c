-- Lets another worker look after all jobs, in a while.
-- Include: ticks format_time
-- KEYS:
--   leadership  who does, and until when
-- ARGV:
--   prefix  of all keys
--   worker  who lets go; nothing happens unless it is the one
--   pause_s number  until another may
if redis.call('HGET', leadership, 'worker') == worker then
  redis.call('HSET', leadership, 'until', format_time(ticks + pause_s))
end
