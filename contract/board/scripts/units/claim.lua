-- Puts units in flight that are in no other state, to wait in a lane. A unit whose deadline has
-- passed counts as absent; a worker that held it is taken to be dead.
-- Include: ticks keep_ticks is_terminal charge let_wait join_lane
-- KEYS:
--   record  of the job
--   flight  its units that wait or run
--   done  its finished units
--   leases  who runs them
-- ARGV:
--   prefix  of all keys
--   job  its id
--   lane  where they wait
--   patience_s number  until a unit that nobody takes counts as absent
--   room number  the most units in flight
--   death_s number  what a job is charged for a dead worker
--   head_start_s number  see join_lane
--   units...  in their order
-- Returns: those that now wait
local status = redis.call('HGET', record, 'status')
if not status or is_terminal(status) or status == 'cancelling' then return {} end

keep_ticks()
for _, unit in ipairs(redis.call('ZRANGEBYSCORE', flight, '-inf', ticks)) do
  redis.call('ZREM', flight, unit)
  if redis.call('HDEL', leases, unit) == 1 then charge(job, death_s) end
end

local function is_due(unit)
  return redis.call('SISMEMBER', done, unit) == 0 and not redis.call('ZSCORE', flight, unit)
end

local claimed, left = {}, room - redis.call('ZCARD', flight)
for place, unit in ipairs(units) do
  if left <= 0 then break end
  if is_due(unit) then
    let_wait(job, unit, place, patience_s)
    claimed[#claimed + 1] = unit
    left = left - 1
  end
end
if #claimed > 0 then join_lane(lane, job, head_start_s) end
return claimed
