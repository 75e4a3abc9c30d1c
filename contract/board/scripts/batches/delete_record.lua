-- Removes an ended batch. Its jobs stay, and are in no batch afterwards.
-- Include: keys
-- KEYS:
--   record  of the batch
--   batch_jobs  its jobs, in their order
--   batch_ended  how they ended
--   batch_refused  problems of entries that are no job
--   batches  the tenant's batches
--   expired  that it is gone because its time was over
-- ARGV:
--   prefix  of all keys
--   batch  its id
-- Returns: 'deleted', 'gone', or the status that forbids it
local status = redis.call('HGET', record, 'status')
if not status then return 'gone' end
if status ~= 'ended' then return status end
for _, job in ipairs(redis.call('HKEYS', batch_ended)) do
  redis.call('HDEL', keys.job(job), 'batch')
end
redis.call('DEL', record, batch_jobs, batch_ended, batch_refused, expired)
redis.call('ZREM', batches, batch)
return 'deleted'
