-- Records an API key.
-- Include: now format_time
-- KEYS:
--   api_keys  all keys
--   record  of the key
--   credential  whose the hash of its secret is
--   tenants  all tenants
-- ARGV:
--   key  its id
--   digest  hash of its secret
--   tenant  whose it is
--   scopes  with commas between them
--   name  what it is called
local at = format_time(now)
redis.call('ZADD', api_keys, at, key)
redis.call('HSET', record, 'tenant', tenant, 'scopes', scopes, 'name', name,
  'created_at', at, 'credential', digest)
redis.call('SET', credential, key)
redis.call('SADD', tenants, tenant)
