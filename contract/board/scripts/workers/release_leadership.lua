-- Lets another worker look after all jobs, in a while.
-- KEYS:
--   leader  the worker that does
-- ARGV:
--   worker  who lets go; nothing happens unless it is the one
--   pause_ms  until another may
if redis.call('GET', leader) == worker then redis.call('PEXPIRE', leader, pause_ms) end
