-- Revokes an API key. A replaced secret that still held leads to a revoked key from now on.
-- Include: now format_time keys
-- KEYS:
--   record  of the key
-- ARGV:
--   prefix  of all keys
-- Returns: 1, or 0 when there is no such key, or it is revoked
local old, revoked = unpack(redis.call('HMGET', record, 'credential', 'revoked_at'))
if not old or revoked then return 0 end
redis.call('HSET', record, 'revoked_at', format_time(now))
redis.call('DEL', keys.credential(old))
return 1
