-- keep_ticks(): for scripts that write anyhow, so that the board's own clock goes on from here.
-- Include: now ticks format_time keys
local function keep_ticks()
  redis.call('HSET', keys.clock(), 'ticks', format_time(ticks), 'at', format_time(now))
end
