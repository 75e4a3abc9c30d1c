-- Notes that a job waits for the store. What it finishes next takes that back.
-- Include: now format_time is_terminal grow
-- KEYS:
--   record  of the job
-- ARGV:
--   prefix  of all keys
-- Returns: for how many seconds it has waited, as text; '0' of a job that is over
local status = redis.call('HGET', record, 'status')
if not status or is_terminal(status) then return '0' end
if redis.call('HSETNX', record, 'store_away_since', format_time(now)) == 1 then grow(record) end
return tostring(now - tonumber(redis.call('HGET', record, 'store_away_since')))
