-- Marks a unit done and counts it, once however often it is called.
-- Include: now format_time is_terminal grow
-- KEYS:
--   record  of the job
--   flight  its units that wait or run
--   leases  who runs them
--   running  tokens done in those that run
--   done  its finished units
-- ARGV:
--   prefix  of all keys
--   unit  the unit
--   counter  field of the record that counts such units; '' for none
--   tokens  run in it
--   total  field of the record that sums the seconds of such units; '' for none
--   seconds  that it ran
--   fields...  field, value, next field, ... for the record; the value '@now' is the time
-- Returns: 1, or 0 when it was done, or the job is over
local status = redis.call('HGET', record, 'status')
redis.call('ZREM', flight, unit)
redis.call('HDEL', leases, unit)
redis.call('HDEL', running, unit)
if not status or is_terminal(status) then return 0 end
if redis.call('SADD', done, unit) == 0 then return 0 end

if counter ~= '' then redis.call('HINCRBY', record, counter, 1) end
redis.call('HINCRBY', record, 'tokens_done', tokens)
if total ~= '' then redis.call('HINCRBYFLOAT', record, total, seconds) end
redis.call('HDEL', record, 'store_away_since', 'waits_because')
for i = 1, #fields, 2 do
  local value = fields[i + 1]
  redis.call('HSET', record, fields[i], value == '@now' and format_time(now) or value)
end
grow(record)
return 1
