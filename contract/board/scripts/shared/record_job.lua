-- record_job(lists, job, first): a queued job, its place in the sorted sets `lists`, and its first
-- unit, which waits in a lane at once. What it takes here counts as stored by its tenant.
-- job: id, created_at, request, tenant, tokens, origin, version.
-- first: unit, lane, patience_s, head_start_s.
-- Include: keys count_stored let_wait join_lane
local function record_job(lists, job, first)
  local record = keys.job(job.id)
  redis.call('HSET', record,
    'id', job.id, 'status', 'queued', 'phase', 'queued', 'revision', 1,
    'request', job.request, 'created_at', job.created_at, 'tenant', job.tenant,
    'tokens_estimated', job.tokens, 'tokens_done', 0, 'shards_done', 0, 'layers_done', 0,
    'origin', job.origin, 'version', job.version)
  count_stored(keys.stored(job.tenant), keys.stored_bytes(), job.tenant, 'record:' .. job.id,
    #job.request + #job.origin)
  for _, list in ipairs(lists) do redis.call('ZADD', list, job.created_at, job.id) end
  let_wait(job.id, first.unit, 1, first.patience_s)
  join_lane(first.lane, job.id, first.head_start_s)
end
