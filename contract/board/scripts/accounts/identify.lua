-- Whose a secret is. Only reads: a write at each request would be a sync of the append-only file at
-- each.
-- Include: keys
-- KEYS:
--   api_keys  all keys
--   credential  whose the hash of the secret is
-- ARGV:
--   prefix  of all keys
-- Returns: {'open'} when there are no keys, {'refused'}, or {'known', key, tenant, scopes, requests
-- a minute or ''}
if redis.call('EXISTS', api_keys) == 0 then return {'open'} end
local key = redis.call('GET', credential)
if not key then return {'refused'} end
local fields = redis.call('HMGET', keys.api_key(key), 'tenant', 'scopes', 'revoked_at')
local tenant, scopes, revoked = unpack(fields)
if not tenant or revoked then return {'refused'} end
local limit = redis.call('HGET', keys.tenant(tenant), 'requests_per_minute') or ''
return {'known', key, tenant, scopes, limit}
