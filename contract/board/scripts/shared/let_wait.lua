-- let_wait(job, unit, place, patience_s): puts a unit in flight, to wait for a worker; its job is
-- to be in a lane. place: among the units of the job; patience_s: until it counts as absent.
-- Include: ticks format_time keys
local function let_wait(job, unit, place, patience_s)
  redis.call('ZADD', keys.flight(job), format_time(ticks + patience_s), unit)
  redis.call('ZADD', keys.waiting(job), place, unit)
end
