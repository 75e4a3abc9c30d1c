-- Removes the record of an ended job; its files are to be deleted from now on.
-- Include: now format_time is_terminal keys count_stored
-- KEYS:
--   record  of the job
--   jobs  its tenant's jobs of its kind
--   expiring  ended jobs that do not stay
--   files_to_delete  jobs without a record whose files are there
--   expired  that it is gone because its time was over
-- ARGV:
--   prefix  of all keys
--   job  its id
--   tenant  whose it is
--   remembered_s number  for how long it is known that it has expired; 0: not at all
-- Returns: 'deleted', 'gone', or the status that forbids it
local status = redis.call('HGET', record, 'status')
if not status then return 'gone' end
if not is_terminal(status) then return status end

local address = redis.call('HGET', record, 'scan_address')
if address then redis.call('ZREM', keys.scans(tenant, address), job) end
count_stored(keys.stored(tenant), keys.stored_bytes(), tenant, 'record:' .. job, 0)
redis.call('DEL', record)
redis.call('ZREM', jobs, job)
redis.call('ZREM', expiring, job)
redis.call('ZADD', files_to_delete, format_time(now), tenant .. ' ' .. job)
if remembered_s > 0 then redis.call('SET', expired, tenant, 'EX', remembered_s) end
return 'deleted'
