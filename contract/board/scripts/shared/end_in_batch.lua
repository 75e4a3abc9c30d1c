-- end_in_batch(record, job, status, keep_s, remembered_s): takes a job that has just ended out of
-- the open ones of its batch, and ends that with the last. keep_s: seconds the batch stays, 0 for
-- always; remembered_s: how much longer it is known that it was there.
-- Include: now format_time keys record_event
local function end_batch(batch, keep_s, remembered_s)
  local record = keys.batch(batch)
  redis.call('HSET', record, 'status', 'ended', 'finished_at', format_time(now))
  record_event(record, batch)
  if keep_s <= 0 then return end
  redis.call('HSET', record, 'expires_at', format_time(now + keep_s))
  local parts = {keys.batch_jobs(batch), keys.batch_ended(batch), keys.batch_refused(batch)}
  for _, key in ipairs({record, unpack(parts)}) do
    redis.call('PEXPIRE', key, math.ceil(1000 * keep_s))
  end
  local tenant = redis.call('HGET', record, 'tenant')
  redis.call('SET', keys.expired(batch), tenant, 'EX', math.ceil(keep_s) + remembered_s)
end

local function end_in_batch(record, job, status, keep_s, remembered_s)
  local batch = redis.call('HGET', record, 'batch')
  if not batch or redis.call('SREM', keys.batch_open(batch), job) == 0 then return end
  redis.call('HSET', keys.batch_ended(batch), job, status)
  redis.call('HINCRBY', keys.batch(batch), status, 1)
  if redis.call('SCARD', keys.batch_open(batch)) == 0 then
    end_batch(batch, keep_s, remembered_s)
  end
end
