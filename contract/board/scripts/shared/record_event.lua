-- record_event(record, id): the event of the job or batch that has just ended, if its request asked
-- for one. Needs `webhooks`, the key of the events that are due.
-- Include: now format_time
local function record_event(record, id)
  local ok, request = pcall(cjson.decode, redis.call('HGET', record, 'request') or '{}')
  if not ok or type(request) ~= 'table' then return end -- it is damaged, and ends all the same
  if not request.webhook or request.webhook == cjson.null then return end
  local at = format_time(now)
  redis.call('HSET', record, 'hook_state', 'pending', 'hook_next_at', at)
  redis.call('ZADD', webhooks, at, id)
end
