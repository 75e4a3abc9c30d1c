-- Takes back that a leased unit was begun once more: what stopped it was not its own.
-- KEYS:
--   leases  who runs the units of the job
--   attempts  how often they were begun
-- ARGV:
--   unit  the unit
--   token  of the lease
-- Returns: 1, or 0 when the lease went to another worker
if redis.call('HGET', leases, unit) ~= token then return 0 end
redis.call('HINCRBY', attempts, unit, -1)
return 1
