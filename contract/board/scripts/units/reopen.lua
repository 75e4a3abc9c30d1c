-- Takes a finished unit back: what `finish` counted is taken off again.
-- Include: is_terminal grow
-- KEYS:
--   record  of the job
--   done  its finished units
-- ARGV:
--   prefix  of all keys
--   unit  the unit
--   counter  field of the record that counts such units; '' for none
--   tokens number  run in it
-- Returns: 1, or 0 when it was not done, or the job is over
local status = redis.call('HGET', record, 'status')
if not status or is_terminal(status) then return 0 end
if redis.call('SREM', done, unit) == 0 then return 0 end
if counter ~= '' then redis.call('HINCRBY', record, counter, -1) end
redis.call('HINCRBY', record, 'tokens_done', 0 - tokens) -- of 0, Redis refuses '-0'
grow(record)
return 1
