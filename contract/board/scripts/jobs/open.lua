-- Records a queued job whose first unit waits in a lane, once for one idempotency key.
-- Include: now format_time submitted room record_job
-- KEYS:
--   record  of the job
--   jobs  its tenant's jobs of its kind
--   active  active jobs of all tenants
--   tenant_active  those of the tenant
--   idem  what the idempotency key opened
-- ARGV:
--   prefix  of all keys
--   job  its id
--   request  as JSON
--   digest  of the request; '' without an idempotency key
--   digest_ttl_s  how long the idempotency key holds
--   most_active number  jobs of all tenants
--   tenant  whose it is
--   tokens number  what it will run, as far as is known
--   most_jobs number  active ones of the tenant; 0: any
--   most_tokens number  queued ones of the tenant; 0: any
--   origin  of the request, as JSON
--   version  of the record
--   first  its first unit
--   lane  where that waits
--   patience_s number  until a unit that nobody takes counts as absent
--   head_start_s number  see join_lane
-- Returns: {verdict, id}: opened, replayed, mismatch, or what `room` says
local submitted = find_submitted(idem, 'job', digest)
if submitted then return submitted end
-- A call whose answer was lost on the way is made again, with the same id.
if redis.call('EXISTS', record) == 1 then return {'opened', job} end

local limits = {active = most_active, jobs = most_jobs, tokens = most_tokens}
local refusal = room(active, tenant_active, limits)(tokens)
if refusal then return {refusal, ''} end

record_job({jobs, active, tenant_active}, {
  id = job, created_at = format_time(now), request = request, tenant = tenant,
  tokens = tokens, origin = origin, version = version,
}, {unit = first, lane = lane, patience_s = patience_s, head_start_s = head_start_s})
remember_submitted(idem, 'job', digest, job, digest_ttl_s)
return {'opened', job}
