-- Asks for a job's end.
-- Include: is_terminal grow
-- KEYS:
--   record  of the job
-- ARGV:
--   prefix  of all keys
-- Returns: the status after it, or 'gone'
local status = redis.call('HGET', record, 'status')
if not status then return 'gone' end
if is_terminal(status) or status == 'cancelling' then return status end
redis.call('HSET', record, 'status', 'cancelling')
grow(record)
return 'cancelling'
