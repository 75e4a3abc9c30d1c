-- room(active, own, limits): whether there is room for more jobs. active, own: the active jobs of
-- all, and the tenant's; limits: active (jobs of all), jobs and tokens (of the tenant; 0: any).
-- Returns admit(tokens), which counts one job in, or says what forbids it: 'full' the board, 'jobs'
-- or 'tokens' a quota of the tenant's.
-- Include: keys
local function count_queued_tokens(own)
  local sum = 0
  for _, job in ipairs(redis.call('ZRANGE', own, 0, -1)) do
    local tokens = redis.call('HMGET', keys.job(job), 'tokens_estimated', 'tokens_done')
    sum = sum + math.max((tonumber(tokens[1]) or 0) - (tonumber(tokens[2]) or 0), 0)
  end
  return sum
end

local function room(active, own, limits)
  local jobs, own_jobs = redis.call('ZCARD', active), redis.call('ZCARD', own)
  local queued_tokens = nil -- counted when it is first needed
  return function(tokens)
    if jobs >= limits.active then return 'full' end
    if limits.jobs > 0 and own_jobs >= limits.jobs then return 'jobs' end
    if limits.tokens > 0 and tokens > 0 then
      queued_tokens = queued_tokens or count_queued_tokens(own)
      if queued_tokens + tokens > limits.tokens then return 'tokens' end
      queued_tokens = queued_tokens + tokens
    end
    jobs, own_jobs = jobs + 1, own_jobs + 1
    return nil
  end
end
