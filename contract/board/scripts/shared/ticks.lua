-- ticks: seconds of the board's own clock, by which leases end. It goes on with Redis' clock, but
-- no step of that moves it: from one script that keeps it to the next by no less than 0 and no more
-- than 4 s. A live worker has one run every three. Needs `prefix`.
-- Include: now keys
local MOST_S = 4

local function read_ticks()
  local kept, at = unpack(redis.call('HMGET', keys.clock(), 'ticks', 'at'))
  if not kept then return now end
  return tonumber(kept) + math.min(math.max(now - tonumber(at), 0), MOST_S)
end

local ticks = read_ticks()
