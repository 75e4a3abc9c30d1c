-- Gives a leased unit back without finishing it.
-- KEYS:
--   flight  units of the job that wait or run
--   leases  who runs them
--   attempts  how often they were begun
-- ARGV:
--   unit  the unit
--   token  of the lease
--   forget_attempt  '1' when this one does not count
-- Returns: 1, or 0 when the lease went to another worker
if redis.call('HGET', leases, unit) ~= token then return 0 end
redis.call('HDEL', leases, unit)
redis.call('ZREM', flight, unit)
if forget_attempt == '1' then redis.call('HINCRBY', attempts, unit, -1) end
return 1
