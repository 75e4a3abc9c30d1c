-- Keeps why an attempt failed. Not in a record that has been deleted: it would come back, empty.
-- KEYS:
--   record  of the job
-- ARGV:
--   why  the text
if redis.call('EXISTS', record) == 1 then redis.call('HSET', record, 'last_failure', why) end
