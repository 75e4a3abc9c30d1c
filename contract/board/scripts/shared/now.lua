-- now: seconds since the epoch, by Redis' clock.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
