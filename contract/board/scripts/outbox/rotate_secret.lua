-- Gives a tenant another secret to sign its events with.
-- Include: now format_time
-- KEYS:
--   signing  the tenant's secrets
-- ARGV:
--   secret  the new one
--   overlap_s number  how long the old one signs too
local old = redis.call('HGET', signing, 'secret')
if old then
  redis.call('HSET', signing, 'before', old, 'before_until', format_time(now + overlap_s))
end
redis.call('HSET', signing, 'secret', secret)
