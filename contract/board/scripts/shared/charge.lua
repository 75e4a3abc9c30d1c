-- charge(job, seconds): the time of one worker that a job has used, to its account and its
-- tenant's. A job's account lies in its record, so it goes with the job.
-- Include: keys tenant_of
local function charge(job, seconds)
  local record = keys.job(job)
  local lane, tenant = redis.call('HGET', record, 'lane'), tenant_of(job)
  if not lane then return end
  local weight = tonumber(redis.call('HGET', keys.tenant(tenant), 'weight')) or 1
  if weight <= 0 then weight = 1 end
  local share = seconds / weight
  local account = redis.call('HINCRBYFLOAT', keys.shares(lane), 't:' .. tenant, share)
  local own = redis.call('HINCRBYFLOAT', record, 'served', seconds)
  redis.call('ZADD', keys.lane(lane), 'XX', account, tenant)
  redis.call('ZADD', keys.lane_jobs(lane, tenant), 'XX', own, job)
end
