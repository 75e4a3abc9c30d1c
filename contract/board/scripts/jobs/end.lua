-- Moves a job to a terminal status, once, with its event and what its batch is to know of it.
-- Include: now format_time is_terminal keys grow record_event end_in_batch tenant_of
-- KEYS:
--   record  of the job
--   flight  its units that wait or run
--   leases  who runs them
--   attempts  how often they were begun
--   done  its finished units
--   running  tokens done in those that run
--   waiting  its units that wait
--   active  active jobs of all tenants
--   ended  how many jobs ended how
--   expiring  ended jobs that do not stay
--   webhooks  events that are due
-- ARGV:
--   prefix  of all keys
--   job  its id
--   outcome  its last status
--   error  as JSON; '' for none
--   keep_s number  until it expires; 0 keeps it
--   remembered_s number  how much longer it is known that its batch was there
-- Returns: 1, or 0 when it has ended, or is being cancelled and cannot succeed
local status = redis.call('HGET', record, 'status')
if not status or is_terminal(status) then return 0 end
if outcome == 'succeeded' and status == 'cancelling' then return 0 end

local at = format_time(now)
redis.call('HSET', record, 'status', outcome, 'phase', 'ended', 'finished_at', at)
if error ~= '' then redis.call('HSET', record, 'error', error) end
grow(record)
redis.call('DEL', flight, leases, attempts, done, running, waiting)

local tenant = tenant_of(job)
redis.call('ZREM', active, job)
redis.call('ZREM', keys.tenant_active(tenant), job)
redis.call('HINCRBY', ended, outcome, 1)

local address = redis.call('HGET', record, 'scan_address')
if address and address ~= '' and outcome == 'succeeded' then
  redis.call('ZADD', keys.scans(tenant, address), at, job)
end
if keep_s > 0 then
  local over = format_time(now + keep_s)
  redis.call('HSET', record, 'expires_at', over)
  redis.call('ZADD', expiring, over, job)
end
record_event(record, job)
end_in_batch(record, job, outcome, keep_s, remembered_s)
return 1
