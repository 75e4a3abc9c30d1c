-- Moves the deadline of a leased unit on, and charges its job the time since that was last moved.
-- Include: ticks keep_ticks format_time charge grow
-- KEYS:
--   record  of the job
--   flight  its units that wait or run
--   leases  who runs them
--   running  tokens done in those that run
-- ARGV:
--   prefix  of all keys
--   job  its id
--   unit  the unit
--   token  of the lease
--   lease_s number  from now on
--   tokens  done in the unit; '' when that is not known
-- Returns: the job's status, 'gone', or 'lost' when the lease went to another worker
local status = redis.call('HGET', record, 'status') or 'gone'
if redis.call('HGET', leases, unit) ~= token then return 'lost' end

keep_ticks()
local deadline = tonumber(redis.call('ZSCORE', flight, unit)) or ticks + lease_s
local since = ticks + lease_s - deadline
if since > 0 then charge(job, math.min(since, lease_s)) end
redis.call('ZADD', flight, format_time(ticks + lease_s), unit)
if tokens ~= '' then
  redis.call('HSET', running, unit, tokens)
  grow(record)
end
return status
