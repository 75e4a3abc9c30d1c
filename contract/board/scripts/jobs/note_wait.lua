-- Notes why a worker that took a unit of a job gave it back. What is finished next takes that back.
-- Include: is_terminal grow
-- KEYS:
--   record  of the job
-- ARGV:
--   prefix  of all keys
--   why  in a sentence
local status = redis.call('HGET', record, 'status')
if not status or is_terminal(status) then return end
if redis.call('HGET', record, 'waits_because') == why then return end
redis.call('HSET', record, 'waits_because', why)
grow(record)
