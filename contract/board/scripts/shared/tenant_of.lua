-- tenant_of(job): whose a job is.
-- Include: keys
local function tenant_of(job)
  return redis.call('HGET', keys.job(job), 'tenant') or 'default'
end
