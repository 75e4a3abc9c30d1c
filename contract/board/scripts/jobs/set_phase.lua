-- Notes which phase a job is in, and since when.
-- Include: now format_time is_terminal grow
-- KEYS:
--   record  of the job
-- ARGV:
--   prefix  of all keys
--   phase  the phase
-- Returns: 1, or 0 when it is over, or was in that phase
local status, old = unpack(redis.call('HMGET', record, 'status', 'phase'))
if not status or is_terminal(status) or old == phase then return 0 end
redis.call('HSET', record, 'phase', phase, 'phase_began_at', format_time(now))
grow(record)
return 1
