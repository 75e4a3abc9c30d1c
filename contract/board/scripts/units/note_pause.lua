-- Notes the longest time without progress of a unit that ended well. A fifth of it enters the mean,
-- so one that hung for a while does not decide for long.
-- KEYS:
--   pauses  the mean, by kind of unit
-- ARGV:
--   kind  of the unit
--   seconds number  the longest in it
local old = tonumber(redis.call('HGET', pauses, kind)) or seconds
redis.call('HSET', pauses, kind, string.format('%.3f', 0.8 * old + 0.2 * seconds))
