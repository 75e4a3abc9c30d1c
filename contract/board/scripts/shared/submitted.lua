-- find_submitted(key, name, digest): {verdict, id} when this idempotency key opened a job or a
-- batch already, which its hash has under `name`. Without a digest there is no key.
local function find_submitted(key, name, digest)
  if digest == '' then return nil end
  local id, old = unpack(redis.call('HMGET', key, name, 'digest'))
  if not id then return nil end
  return {old == digest and 'replayed' or 'mismatch', id}
end

-- remember_submitted(key, name, digest, id, ttl_s): that it did.
local function remember_submitted(key, name, digest, id, ttl_s)
  if digest == '' then return end
  redis.call('HSET', key, name, id, 'digest', digest)
  redis.call('EXPIRE', key, ttl_s)
end
