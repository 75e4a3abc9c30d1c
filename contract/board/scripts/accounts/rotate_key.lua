-- Gives an API key another secret.
-- Include: now format_time keys
-- KEYS:
--   record  of the key
--   credential  whose the hash of the new secret is
-- ARGV:
--   prefix  of all keys
--   key  its id
--   digest  hash of the new secret
--   keep_s number  how long the old secret still holds
-- Returns: 1, or 0 when there is no such key, or it is revoked
local old, revoked = unpack(redis.call('HMGET', record, 'credential', 'revoked_at'))
if not old or revoked then return 0 end
redis.call('HSET', record, 'credential', digest, 'rotated_at', format_time(now))
redis.call('SET', credential, key)
if keep_s > 0 then
  redis.call('EXPIRE', keys.credential(old), keep_s)
else
  redis.call('DEL', keys.credential(old))
end
return 1
