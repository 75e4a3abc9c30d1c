-- Opens every job of a batch that there is room for, each with its first unit waiting in a lane,
-- once for one idempotency key.
-- Include: now format_time keys submitted room record_job
-- KEYS:
--   record  of the batch
--   batch_jobs  its jobs, in their order
--   batch_open  those that have not ended
--   batch_refused  problems of entries that are no job
--   batches  the tenant's batches
--   jobs  the tenant's analyses
--   active  active jobs of all tenants
--   tenant_active  those of the tenant
--   idem  what the idempotency key opened
-- ARGV:
--   prefix  of all keys
--   batch  its id
--   digest  of the request; '' without an idempotency key
--   digest_ttl_s  how long the idempotency key holds
--   most_active number  jobs of all tenants
--   most_jobs number  active ones of the tenant; 0: any
--   most_tokens number  queued ones of the tenant; 0: any
--   atomic  '1': all jobs or none
--   tenant  whose it is
--   origin  of the request, as JSON
--   version  of the jobs' records
--   fields  of the batch's record, as JSON
--   refused  problems of entries that are no job, by index, as JSON
--   problems  those of entries that find no room, by verdict, as JSON
--   first  the first unit of each job
--   patience_s number  until a unit that nobody takes counts as absent
--   head_start_s number  see join_lane
--   entries...  index, id, request, tokens and lane of each job, one after the other
-- Returns: {verdict, id}: opened, replayed, mismatch, or what `room` says of the first job refused
local submitted = find_submitted(idem, 'batch', digest)
if submitted then return submitted end
-- A call whose answer was lost on the way is made again, with the same id.
if redis.call('EXISTS', record) == 1 then return {'opened', batch} end

local limits = {active = most_active, jobs = most_jobs, tokens = most_tokens}
local admit = room(active, tenant_active, limits)
local admitted, turned_away, first_refusal = {}, {}, nil
for i = 1, #entries, 5 do
  local entry = {
    index = entries[i], job = entries[i + 1], request = entries[i + 2],
    tokens = tonumber(entries[i + 3]), lane = entries[i + 4],
  }
  local refusal = admit(entry.tokens)
  if refusal then
    first_refusal = first_refusal or refusal
    turned_away[entry.index] = refusal
  else
    admitted[#admitted + 1] = entry
  end
end
if first_refusal and (atomic == '1' or #admitted == 0) then return {first_refusal, ''} end

for index, problem in pairs(cjson.decode(refused)) do
  redis.call('HSET', batch_refused, index, problem)
end
local problem_of = cjson.decode(problems)
for index, refusal in pairs(turned_away) do
  redis.call('HSET', batch_refused, index, problem_of[refusal])
end
for place, entry in ipairs(admitted) do
  record_job({jobs, active, tenant_active}, {
    id = entry.job, request = entry.request, tenant = tenant, tokens = entry.tokens,
    origin = origin, version = version,
    -- A microsecond apart, so that lists have them in the order of the batch.
    created_at = format_time(now + place * 1e-6),
  }, {unit = first, lane = entry.lane, patience_s = patience_s, head_start_s = head_start_s})
  redis.call('HSET', keys.job(entry.job), 'batch', batch)
  redis.call('RPUSH', batch_jobs, entry.index .. ' ' .. entry.job)
  redis.call('SADD', batch_open, entry.job)
end

local at = format_time(now)
redis.call('HSET', record,
  'id', batch, 'tenant', tenant, 'status', 'running', 'revision', 1, 'created_at', at,
  'refused', redis.call('HLEN', batch_refused))
for name, value in pairs(cjson.decode(fields)) do redis.call('HSET', record, name, value) end
redis.call('ZADD', batches, at, batch)
remember_submitted(idem, 'batch', digest, batch, digest_ttl_s)
return {'opened', batch}
