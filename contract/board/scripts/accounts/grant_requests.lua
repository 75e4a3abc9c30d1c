-- Grants a process requests of what is left of a tenant's in this minute of Redis' clock.
-- KEYS:
--   tenant_minute  the minute, and requests granted in it
-- ARGV:
--   wanted number  at most
--   limit number  of the tenant in a minute
-- Returns: {granted, left then, whole seconds to the end of the minute}
local seconds = tonumber(redis.call('TIME')[1])
local minute = math.floor(seconds / 60)
local old = redis.call('HMGET', tenant_minute, 'minute', 'granted')
local used = tonumber(old[1]) == minute and tonumber(old[2]) or 0
local granted = math.max(math.min(wanted, limit - used), 0)
if granted > 0 then
  redis.call('HSET', tenant_minute, 'minute', minute, 'granted', used + granted)
  redis.call('EXPIRE', tenant_minute, 120)
end
return {granted, math.max(limit - used - granted, 0), 60 - seconds % 60}
