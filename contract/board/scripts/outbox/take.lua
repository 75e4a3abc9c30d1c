-- Takes an event that is due, until it is settled or the lease is over, and counts the attempt.
-- Include: now format_time keys
-- KEYS:
--   webhooks  events that are due
-- ARGV:
--   prefix  of all keys
--   token  of the lease
--   lease_s number  how long it holds
-- Returns: the id of its job or batch, or nothing
local function record_of(id)
  return string.sub(id, 1, 4) == 'bat_' and keys.batch(id) or keys.job(id)
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', webhooks, '-inf', now, 'LIMIT', 0, 100)) do
  local record = record_of(id)
  if redis.call('HGET', record, 'hook_state') == 'pending' then
    local lease = format_time(now + lease_s)
    redis.call('ZADD', webhooks, lease, id)
    redis.call('HSET', record, 'hook_token', token, 'hook_next_at', lease)
    redis.call('HINCRBY', record, 'hook_attempts', 1)
    return id
  end
  redis.call('ZREM', webhooks, id)
end
return nil
