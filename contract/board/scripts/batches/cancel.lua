-- Asks for the end of every job of a batch that has not ended.
-- Include: keys grow
-- KEYS:
--   record  of the batch
--   batch_open  its jobs that have not ended
-- ARGV:
--   prefix  of all keys
-- Returns: 'cancelling', 'ended' or 'gone'
local status = redis.call('HGET', record, 'status')
if not status then return 'gone' end
if status == 'ended' then return status end
redis.call('HSET', record, 'status', 'cancelling')
redis.call('HINCRBY', record, 'revision', 1)
for _, job in ipairs(redis.call('SMEMBERS', batch_open)) do
  local state = redis.call('HGET', keys.job(job), 'status')
  if state == 'queued' or state == 'running' then
    redis.call('HSET', keys.job(job), 'status', 'cancelling')
    grow(keys.job(job))
  end
end
return 'cancelling'
