-- The secrets that sign a tenant's events now.
-- Include: now
-- KEYS:
--   signing  the tenant's secrets
-- Returns: one or two, the newest first
local fields = redis.call('HMGET', signing, 'secret', 'before', 'before_until')
local secret, old, old_until = unpack(fields)
if old and old_until and tonumber(old_until) > now then return {secret, old} end
return {secret}
