-- Notes how the delivery of an event went.
-- Include: now format_time
-- KEYS:
--   record  of the job or batch
--   webhooks  events that are due
-- ARGV:
--   id  of the job or batch
--   token  of the lease
--   state  of the delivery from now on
--   status  of the answer; '' for none
--   error  why it failed; '' for none
--   delay_s  to the next attempt; '' for none
-- Returns: 1, or 0 when the lease went to another sender
if redis.call('HGET', record, 'hook_token') ~= token then return 0 end
redis.call('HDEL', record, 'hook_token', 'hook_status', 'hook_error', 'hook_next_at')
redis.call('HSET', record, 'hook_state', state)
redis.call('HINCRBY', record, 'revision', 1)
if status ~= '' then redis.call('HSET', record, 'hook_status', status) end
if error ~= '' then redis.call('HSET', record, 'hook_error', error) end
if delay_s == '' then
  redis.call('ZREM', webhooks, id)
else
  local at = format_time(now + tonumber(delay_s))
  redis.call('HSET', record, 'hook_next_at', at)
  redis.call('ZADD', webhooks, at, id)
end
return 1
