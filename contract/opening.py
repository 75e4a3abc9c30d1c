"""Opening jobs on the board: text of Lua scripts. Whether there is room for more, and the record of a new one."""

from __future__ import annotations

# room(): how much a tenant may still open, on a board with `most` active jobs at the most. `prefix` is that of job
# records; 0 is no limit for its jobs and its tokens. admit(tokens): counts one job in, or says what forbids it:
# 'full' the board, 'jobs' or 'tokens' a quota of the tenant's.
ROOM = """
local function room(prefix, active, own, most, most_jobs, most_tokens)
  local jobs, own_jobs, queued = redis.call('ZCARD', active), redis.call('ZCARD', own), nil
  local function count_queued()
    local sum = 0
    for _, job in ipairs(redis.call('ZRANGE', own, 0, -1)) do
      local found = redis.call('HMGET', prefix .. job, 'tokens_estimated', 'tokens_done')
      sum = sum + math.max((tonumber(found[1]) or 0) - (tonumber(found[2]) or 0), 0)
    end
    return sum
  end
  local function admit(tokens)
    if jobs >= most then return 'full' end
    if most_jobs > 0 and own_jobs >= most_jobs then return 'jobs' end
    if most_tokens > 0 and tokens > 0 then
      queued = queued or count_queued()
      if queued + tokens > most_tokens then return 'tokens' end
      queued = queued + tokens
    end
    jobs, own_jobs = jobs + 1, own_jobs + 1
    return nil
  end
  return admit
end
"""

# find_submitted(key, name, digest): {verdict, id} when this idempotency key opened a job or a batch already, which its
# hash has under `name`.  remember_submitted(...): that it did. No digest: there is no key.
REMEMBER = """
local function find_submitted(key, name, digest)
  if digest == '' then return nil end
  local id, old = unpack(redis.call('HMGET', key, name, 'digest'))
  if not id then return nil end
  return {old == digest and 'replayed' or 'mismatch', id}
end
local function remember_submitted(key, name, digest, id, ttl)
  if digest == '' then return end
  redis.call('HSET', key, name, id, 'digest', digest)
  redis.call('EXPIRE', key, ttl)
end
"""

# record_job(record, lists, at, ...): a queued job, and its place in the sorted sets `lists`.
RECORD = """
local function record_job(record, lists, at, id, request, tenant, tokens, origin, version)
  redis.call('HSET', record, 'id', id, 'status', 'queued', 'phase', 'queued', 'revision', 1, 'request', request,
    'created_at', at, 'tokens_done', 0, 'shards_done', 0, 'layers_done', 0, 'tenant', tenant,
    'tokens_estimated', tokens, 'origin', origin, 'version', version)
  for _, list in ipairs(lists) do redis.call('ZADD', list, at, id) end
end
"""
